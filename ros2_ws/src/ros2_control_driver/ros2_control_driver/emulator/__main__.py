"""Start the emulated controllers: ``python -m ros2_control_driver.emulator --side left``."""

import sys

from ros2_control_driver.nodes.controllers_node import main

sys.exit(main())

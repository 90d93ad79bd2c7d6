"""``python -m realman_driver.emulator``."""

import sys

from realman_driver.emulator.main import main

sys.exit(main())

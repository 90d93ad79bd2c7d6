"""Driver of one AgiBot OmniPicker gripper: protocol, client, emulator and ROS node."""

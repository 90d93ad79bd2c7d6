"""The MuJoCo model: arms, grippers, table, cameras, objects; its physics and its pictures."""

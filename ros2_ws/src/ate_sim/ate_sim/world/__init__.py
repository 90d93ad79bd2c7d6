"""Builders of the MuJoCo model: arms, grippers, table, cameras and object shapes."""

"""The simulated cell: MuJoCo world, tasks, scripted experts and a fast environment."""

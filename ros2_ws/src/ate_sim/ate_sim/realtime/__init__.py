"""The world in real time: its process, its pictures, and the blocks through which both are met."""

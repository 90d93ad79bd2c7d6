"""How the hands of the simulated cell are asked to move: JSON on a socket of its runtime folder.

Those who lead are `ate teleop-keys` and the page; `ate_sim.people.led_hands` says what is asked.
"""

HANDS_SOCKET = "hands.sock"
"""File name of the socket in the runtime folder; it is there while hands can be led."""
LEAD = "lead"
"""The one request."""

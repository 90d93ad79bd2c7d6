"""The cockpit: one page on which people see the cell, stop it and look after episodes."""

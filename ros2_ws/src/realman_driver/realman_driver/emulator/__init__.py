"""An RM75-6F controller that speaks the vendor's TCP and UDP protocol, for tests and simulation."""

"""An RM75-6F controller that speaks the vendor's protocol, for tests and simulation."""

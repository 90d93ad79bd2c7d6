"""The scripted people: two operators with emulated headsets and Joy-Cons."""

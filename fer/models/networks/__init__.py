"""The networks of the zoo, a module each: `Config`, every choice of the network, and `build`, which makes it."""

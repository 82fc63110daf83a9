"""How a stage runs, whatever it makes: key, commit, contract, worker processes. It knows no face."""

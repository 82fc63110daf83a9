"""The recipes: every choice of a run, typed. The named ones are a module each; others are files of the user's."""

"""Parts of the test on which a model may be worse: by properties of images, issues, sources and groups of people."""

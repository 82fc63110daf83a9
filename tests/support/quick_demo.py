"""Settings with which the recipe `demo` runs in seconds, for tests of whole flows."""

SETTINGS = (
    'demo.images_per_class={"happy": 40, "sad": 30, "surprise": 40}',
    'index.classes=["happy", "sad", "surprise"]',
    "demo.duplicates=3",
    "split.test_share=0.15",
    "split.validation_share=0.10",
    "contracts.max_quarantined_share=0.2",
    "preprocess.height=24",
    "preprocess.width=24",
    "train.epochs=2",
    "train.model.width=4",
    "train.model.stem_filters=4",
    "train.model.blocks=1",
    "train.model.dense_units=8",
    "robustness.max_images=5",
    'robustness.corruptions=["contrast"]',
    "robustness.severities=[1]",
    "export.formats=[]",
    "gate.min_accuracy=0",
    "gate.min_macro_f1=0",
    "gate.min_images=1",
)

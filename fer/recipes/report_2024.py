"""The 2024 student report's workflow: five classes at 224×224 grey, blur, its balancing rule, a sequential CNN.

Command: fer retrain --source kaggle:OWNER/SLUG --recipe report-2024   (one folder per class, no split)
Expected: 22 minutes on 2 cores of a Xeon, 20 of them training; 2.3 GB at most in the training process. Of one seed:
test accuracy 0.653 (95 % interval 0.624 to 0.680), macro-F1 0.605 (0.572 to 0.637) on 1,108 images, 0.658 on the 967
de-duplicated ones; with flip TTA 0.669; validation 0.637; the report: 0.58 and 0.56.
"""

from fer.curation import split
from fer.evaluation.config import GateConfig
from fer.images import augment
from fer.ingest import index
from fer.models.networks import sequential_cnn
from fer.recipes.schema import Recipe
from fer.shards import balance, preprocessing
from fer.training import config as train_config

RECIPE = Recipe(
    name="report-2024",
    model_name="report-2024",
    index=index.IndexConfig(classes=("angry", "fear", "happy", "sad", "surprise"), synonyms={"Suprise": "surprise"}),
    split=split.SplitConfig(test_share=0.08, validation_share=0.08),
    preprocess=preprocessing.PreprocessConfig(height=224, width=224, blur_kernel=3),
    balance=balance.BalanceConfig(strategy="augment-to-target"),
    train=train_config.TrainConfig(
        model=sequential_cnn.Config(stem_stride=8),  # its sources are 48×48: 28×28 after the stem loses nothing
        epochs=24,
        batch_size=64,
        augmentation=augment.AugmentConfig(rotation_deg=12, shift=0.08, shear_deg=0, zoom=0.12),
        timeout_s=7_200,
    ),
    # Where exactly one of two models is right on 25 % of the 1,140 test images, it passes 82 % of equals and 38 % of
    # models 2 points worse, simulated with the data's classes: `make bench NAME=gates`.
    gate=GateConfig(min_accuracy=0.58, min_macro_f1=0.56, margin=0.045),
    search={"train.learning_rate": "5e-4..5e-3 log", "train.model.dropout": "0.1..0.5"},
)

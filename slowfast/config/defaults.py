"""Every configuration key: what it does, its default and its allowed values.

A comment explains each key; the declaration below it gives the default first, then the choices or
bounds:

    _C.SOLVER.BASE_LR = number(0.1, at_least=0)
    _C.SOLVER.LR_POLICY = choice("cosine", "steps_with_relative_lrs")
    _C.SOLVER.NESTEROV = True

The default's type is the type of the key. Paths are relative to the working directory; `~` and
`$NAME` in them are expanded. Input files and folders of annotations may also be URLs (`https://`,
`s3://`). Keys that PySlowFast users know keep their names and meaning; "published" marks the
behaviour of the released SUM-L code. `slowfast.config.load` applies YAML files and overrides
to these defaults; `slowfast.config.rules` checks keys that depend on each other.
"""

from fvcore.common.config import CfgNode

from slowfast.config.bounds import NotEmpty
from slowfast.config.declare import (
    Section,
    bounds_of,
    choice,
    declarations,
    number,
    odd_number,
    path,
    per_channel,
    per_stage,
    span,
    subset,
    to_cfg,
)

_C = Section()

# ---------------------------------------------------------------------------------------------
# Run: processes and outputs
# ---------------------------------------------------------------------------------------------
# Suffix of the head's name in checkpoint files (`head<TASK>.projections.0.weight`).
_C.TASK = ""
# Folder for the log, checkpoints, predictions and results. Give each run its own, since
# training resumes from the newest checkpoint in it. A test that runs during training logs to
# test_log.txt.
_C.OUTPUT_DIR = path("runs/default", NotEmpty("a folder ('.' for this one)"))
# Seed of initial weights, sample order, augmentation and dropout. A training sample depends on
# (RNG_SEED, epoch, index) alone, not on the number of processes or workers.
_C.RNG_SEED = number(42, at_least=0, below=2**32)
# Optimizer steps between log lines.
_C.LOG_PERIOD = number(10, at_least=1)

# Processes to start on this machine, one per GPU. 0 runs on the CPU. A launcher such as torchrun
# sets the number of processes itself; 0 then only selects the CPU (gloo).
_C.NUM_GPUS = number(1, at_least=0)
# Number of machines in a run without a launcher. Start the same command on each machine, with its
# own SHARD_ID and with --init_method tcp://HOST:PORT of machine 0.
_C.NUM_SHARDS = number(1, at_least=1)
# Index of this machine, from 0 to NUM_SHARDS - 1.
_C.SHARD_ID = number(0, at_least=0)

# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------
_C.TRAIN = Section()
# Train the model. Training runs before the test if both are enabled.
_C.TRAIN.ENABLE = True
# Numeric precision of the backbones. Weights, batch-norm statistics, heads, losses and the
# optimizer are always float32.
#   fp32: float32.
#   tf32: float32 with TF32 convolutions; CUDA only.
#   bf16: bfloat16; needs no loss scale.
#   fp16: float16 with a dynamic loss scale; CUDA only.
_C.TRAIN.PRECISION = choice("fp32", "tf32", "bf16", "fp16")

# Data set to train and validate on.
#   epickitchen: ego clips.
#   lemma: exo clips.
#   egoexolearn: clips of either view.
#   egtea: ego clips, with any of the heads verb, noun and action.
#   charades_ego: clips of either view, with the single head action.
#   csv: your own clips, of the view that the model expects (docs/data.md).
#   ego_exo: clips of EGO.DATASET, each joined with a clip of EXO.DATASET (SUM-L).
_C.TRAIN.DATASET = "epickitchen"
# Train, validate and test on pre-extracted features (FEATURES.EGO, FEATURES.EXO) instead of frames.
# Needs MODEL.BACKBONE features:WIDTH. Heads, probes and projections are trained, with all losses of
# SUML.
_C.TRAIN.ON_FEATURES = False
# Frame list of the training segments, .csv or .pkl, in DATA.PATH_TO_DATA_DIR. For csv,
# only the rows of this split are read if the list has a column `split`. The validation and test
# lists follow the same rule.
_C.TRAIN.TRAIN_DATA_LIST = path("EPIC_100_train.csv")
# Frame list of the validation segments, .csv or .pkl, in DATA.PATH_TO_DATA_DIR.
_C.TRAIN.VAL_DATA_LIST = path("EPIC_100_validation.csv")
# Clips (ego_exo: pairs) per optimizer step over all processes (PySlowFast counts per machine). The
# number of processes must divide it.
_C.TRAIN.BATCH_SIZE = number(64, at_least=1)

# Epochs between validations. The last epoch is always validated.
_C.TRAIN.EVAL_PERIOD = number(1, at_least=1)
# Epochs between checkpoints. One is always written after the last epoch.
_C.TRAIN.CHECKPOINT_PERIOD = number(1, at_least=1)
# Optimizer steps between checkpoints within an epoch. 0 writes none. Such a checkpoint is removed
# once it is no longer among the newest two. Set it if losing an epoch is too expensive.
_C.TRAIN.CHECKPOINT_PERIOD_ITERS = number(0, at_least=0)
# Number of newest checkpoints of finished epochs to keep. 0 keeps all.
_C.TRAIN.CHECKPOINT_KEEP = number(0, at_least=0)
# Also keep the checkpoint of every n-th epoch. 0 disables it.
_C.TRAIN.CHECKPOINT_KEEP_EVERY = number(0, at_least=0)
# Validation metric that selects checkpoint_best.pyth, written HEAD_METRIC, e.g. verb_top1 (names in
# docs/evaluation.md). Empty means action_top1 for the heads verb and noun, all_top1 for other
# heads, HEAD_top1 for a single head, and mAP for multi-label heads.
_C.TRAIN.BEST_METRIC = ""

# Resume from the newest checkpoint in OUTPUT_DIR, if it has one.
_C.TRAIN.AUTO_RESUME = True
# Resume even if a list, class table, label map, pair table or narration cache has changed since the
# checkpoint; the log names the changed ones. False makes a change an error. Frames are not
# compared.
_C.TRAIN.ACCEPT_CHANGED_DATA = False
# Checkpoint with the initial weights: .pyth, .safetensors, or Caffe2 .pkl. Empty means
# random weights.
_C.TRAIN.CHECKPOINT_FILE_PATH = path("")
# Format of TRAIN.CHECKPOINT_FILE_PATH. pytorch also reads .safetensors.
_C.TRAIN.CHECKPOINT_TYPE = choice("pytorch", "caffe2")
# Inflate the 2-D convolution weights of the checkpoint to 3-D: repeat them over time and divide by
# the number of repeats. For ResNets trained on images.
_C.TRAIN.CHECKPOINT_INFLATE = False
# Name of the head in the checkpoint, e.g. headepic, if the checkpoint was trained with another
# TASK. Empty means head<TASK>.
_C.TRAIN.CHECKPOINT_HEAD = ""
# Load the epoch and the optimizer state from TRAIN.CHECKPOINT_FILE_PATH too, not only the weights.
_C.TRAIN.RESUME = False

# ---------------------------------------------------------------------------------------------
# Testing
# ---------------------------------------------------------------------------------------------
_C.TEST = Section()
# Test the model, after training if both are enabled.
_C.TEST.ENABLE = True
# What the test computes. The last three need the projections of a dual model. They read extracted
# features and first extract missing ones.
#   recognition: class scores, predictions and accuracy.
#   features: files of pooled features and projections.
#   retrieval: EPIC-KITCHENS-100 multi-instance retrieval between clips and sentences.
#   cross_view: retrieval between ego and exo clips.
#   zero_shot: recognition with the class names as sentences.
_C.TEST.TASK = choice("recognition", "features", "retrieval", "cross_view", "zero_shot")
# Data set to test on: epickitchen, lemma, csv, or, for the features of a dual model, ego_exo (both
# views).
_C.TEST.DATASET = "epickitchen"
# Frame list of the test segments, .csv or .pkl, in DATA.PATH_TO_DATA_DIR.
_C.TEST.DATA_LIST = path("EPIC_100_validation.csv")

# Largest number of views per forward pass. A pass has views of one segment only, so that
# scores do not depend on the number of processes. The smaller of TEST.BATCH_SIZE and
# TEST.CHUNK_VIEWS applies.
_C.TEST.BATCH_SIZE = number(8, at_least=1)
# Largest number of views per forward pass, as TEST.BATCH_SIZE. Lower it if a test runs out of
# memory.
_C.TEST.CHUNK_VIEWS = number(6, at_least=1)
# Seconds between saves of finished segments under OUTPUT_DIR. An interrupted test resumes from
# them, on any number of processes. 0 saves after every segment.
_C.TEST.PARTIAL_SEC = number(60.0, at_least=0)
# Temporal views per segment, spread evenly. 1 uses the validation view.
_C.TEST.NUM_ENSEMBLE_VIEWS = number(10, at_least=1)
# Spatial crops per temporal view: 3 along the longer side, or 1 in the centre.
_C.TEST.NUM_SPATIAL_CROPS = choice(3, 1)

# Checkpoint to test. Empty means the one just trained, else TRAIN.CHECKPOINT_FILE_PATH, else the
# newest one in OUTPUT_DIR.
_C.TEST.CHECKPOINT_FILE_PATH = path("")
# Format of TEST.CHECKPOINT_FILE_PATH. pytorch also reads .safetensors.
_C.TEST.CHECKPOINT_TYPE = choice("pytorch", "caffe2")
# Name of the head in the tested checkpoint, as TRAIN.CHECKPOINT_HEAD.
_C.TEST.CHECKPOINT_HEAD = ""
# After training, test checkpoint_best.pyth instead of the newest checkpoint. A run that only
# tests (TRAIN.ENABLE False) does not read it: name the file in TEST.CHECKPOINT_FILE_PATH.
_C.TEST.LOAD_BEST = False
# Return logits instead of probabilities in eval mode.
_C.TEST.NO_ACT = False
# File of the predictions, always under OUTPUT_DIR. Empty writes none.
_C.TEST.SAVE_PREDICT_PATH = path("predictions.pkl")
# Also compute the official values with the arithmetic of the public scorer, one softmax over all
# segments. results.json has both; the table shows the values that differ, with the reason.
_C.TEST.SCORER_COMPAT = False

# Numeric precision of the backbones, as TRAIN.PRECISION.
_C.TEST.PRECISION = choice("fp32", "tf32", "bf16", "fp16")
# Fold the batch norms into the convolutions. Faster; scores differ by rounding.
_C.TEST.FOLD_BN = False
# Test the averaged weights (SOLVER.EMA_DECAY) if the checkpoint has them.
_C.TEST.EMA = True
# Split of the exo data set to test on.
_C.TEST.EXO_SPLIT = choice("test", "train", "val")

_C.TEST.FEATURES = Section()
# Folder for the features. Empty means `features` in OUTPUT_DIR. Features that a different test
# left are replaced in the default folder; in a folder named here they are an error.
_C.TEST.FEATURES.DIR = path("")
# Also keep the features of every distinct view, so that a later recognition test needs no
# backbone. Costs 4 bytes x channels per view: 2.7 GB for 9,668 segments x 30 views x 2,304
# channels.
_C.TEST.FEATURES.PER_VIEW = True

_C.TEST.RETRIEVAL = Section()
# Sentences to retrieve: CSV (narration_id, narration) in DATA.PATH_TO_DATA_DIR. Empty means
# EPIC_100_retrieval_test_sentence.csv if it exists, else every distinct narration of the list.
_C.TEST.RETRIEVAL.SENTENCES = path("")

_C.TEST.CROSS_VIEW = Section()
# Pair table of the two tested lists (tools/mine_pairs.py). Its pairs are compared with random ones.
# Empty compares only the pairs that share a verb and a noun.
_C.TEST.CROSS_VIEW.PAIRS = path("")

_C.TEST.ZERO_SHOT = Section()
# Sentence templates for a verb class; {} is replaced by its name. The embeddings of several
# templates are averaged.
_C.TEST.ZERO_SHOT.VERB_PROMPTS = ["{}"]
# Sentence templates for a noun class, as VERB_PROMPTS.
_C.TEST.ZERO_SHOT.NOUN_PROMPTS = ["{}"]

# ---------------------------------------------------------------------------------------------
# Ego data (first person), and how clips of both views are cut
# ---------------------------------------------------------------------------------------------
_C.DATA = Section()
# Folder of the frame lists and class tables.
_C.DATA.PATH_TO_DATA_DIR = path("data/epic-100/annotations")
# Folder of the frames or videos. Its layout is detected once per video.
_C.DATA.PATH_PREFIX = path("data/epic-100/dataset")
# Additional frame folders, tried in order for a video that is not in DATA.PATH_PREFIX.
_C.DATA.FALLBACK_PATH_PREFIXES = path(
    ["data/epic-55/train_rgb_frames", "data/epic-55/test_rgb_frames"]
)
# Read the frame lists in the format of EPIC-KITCHENS-100, instead of EPIC-KITCHENS-55.
_C.DATA.EPIC_100 = False
# Offset added to an annotated frame number to get the number of its file. Files start at 1.
_C.DATA.FRAME_INDEX_OFFSET = 0
# Frames per second at which videos of csv lists with times in seconds are sampled. For folders and
# tars of frames it must be their frame rate. Lists with frame numbers count the frames of each
# video.
_C.DATA.TARGET_FPS = number(30.0, above=0, at_most=1000)
# Class names of csv lists, a CSV file (head, id, name) in DATA.PATH_TO_DATA_DIR. Empty means the
# names that the training run in OUTPUT_DIR stored, else those in the training and validation lists.
_C.DATA.CLASS_NAMES = path("")

# Frames of an ego clip in the fast pathway; a multiple of SLOWFAST.ALPHA.
_C.DATA.NUM_FRAMES = number(32, at_least=1)
# Stride between the frames of an ego clip, in frames of the video.
_C.DATA.SAMPLING_RATE = number(2, at_least=1)
# Range of the short side of a training clip before the crop, in pixels; drawn at random.
_C.DATA.TRAIN_JITTER_SCALES = span([256, 320], at_least=1)
# Side of the square training crop, in pixels.
_C.DATA.TRAIN_CROP_SIZE = number(224, at_least=1)
# Short side and square crop in validation and test, in pixels.
_C.DATA.TEST_CROP_SIZE = number(256, at_least=1)
# Input side, in pixels, that one pooling window of MODEL.HEAD_POOL window covers.
_C.DATA.CROP_SIZE = number(224, at_least=32)
# Draw 1 / (short side) uniformly, instead of the short side.
_C.DATA.INV_UNIFORM_SAMPLE = False
# Mirror half of the training clips, in both views.
_C.DATA.RANDOM_FLIP = True

# Mean of each colour channel, in the channel order of the model input, for pixels in 0..1.
_C.DATA.MEAN = per_channel([0.45, 0.45, 0.45])
# Standard deviation of each colour channel, as DATA.MEAN.
_C.DATA.STD = per_channel([0.225, 0.225, 0.225], above=0)
# Channel order of ego clips as input to the model. Published ego weights need bgr.
_C.DATA.CHANNEL_ORDER = choice("bgr", "rgb")
# Reverse the channel order of both views, as the published override does.
_C.DATA.REVERSE_INPUT_CHANNEL = False

# JPEG decoder. auto uses simplejpeg if it is installed, else opencv. Both give the same pixels.
_C.DATA.DECODER = choice("auto", "simplejpeg", "opencv")
# Retries for a failed frame read, after pauses of 0.1 s, 0.2 s, 0.4 s ... up to 5 s. A missing or
# short file counts as a failed read; a file that was read completely but is not a complete JPEG is
# not read again. Raise it on unreliable network file systems.
_C.DATA.RETRIES = number(0, at_least=0)
# What to do with a frame that is missing or cannot be decoded.
#   error: stop the run.
#   nearest: use the nearest readable frame of the segment, the earlier one on a tie; the log names
#     and counts the files.
_C.DATA.ON_BAD_FRAME = choice("error", "nearest")
# What to do with a listed video that is missing.
#   error: stop before the run starts.
#   skip: leave out its segments; the log, the table and results.json report how many segments and
#     classes are lost.
_C.DATA.ON_MISSING_VIDEO = choice("error", "skip")
# Where frames are resized.
#   auto: on the device if that is CUDA, else in the workers.
#   worker: in uint8, at most 1 grey level off the published float pipeline.
#   device: exact. Workers only decode and crop, but still shrink frames that are larger than the
#     resized clip (in a test, frames with more than twice its pixels).
_C.DATA.RESIZE_ON = choice("auto", "worker", "device")
# How the scores of a segment's views are combined: mean (sum) or maximum (max).
_C.DATA.ENSEMBLE_METHOD = choice("sum", "max")

_C.EGO = Section()
# Data set of the ego half of ego_exo.
_C.EGO.DATASET = "epickitchen"

# ---------------------------------------------------------------------------------------------
# Exo data (third person, unpaired)
# ---------------------------------------------------------------------------------------------
_C.EXO = Section()
# Data set of the exo half of ego_exo.
_C.EXO.DATASET = "lemma"
# Folder of the annotations. For lemma it contains annotations/full, annotations/splits and
# annotations/metadata.
_C.EXO.PATH_TO_DATA_DIR = path("data/lemma")
# Root folder of the image and video paths in the annotations. Empty means
# EXO.PATH_TO_DATA_DIR.
_C.EXO.PATH_PREFIX = path("")
# List of the exo segments of csv, in EXO.PATH_TO_DATA_DIR; its column `split` selects the training
# segments. Without that column, all are training segments.
_C.EXO.DATA_LIST = path("exo.csv")
# Frames per second of exo lists of csv, as DATA.TARGET_FPS.
_C.EXO.TARGET_FPS = number(30.0, above=0, at_most=1000)
# Class names of exo lists of csv, as DATA.CLASS_NAMES, in EXO.PATH_TO_DATA_DIR.
_C.EXO.CLASS_NAMES = path("")
# Camera view whose frames are read: third person (tpv) or first person (fpv).
_C.EXO.VIEW = choice("tpv", "fpv")
# Camera view whose segment file is read. The published code reads the fpv file for both views.
_C.EXO.SEGMENTS_VIEW = choice("tpv", "fpv")
# Group of videos: the split files annotations/splits/<VIDEO_TYPE>_<split>.json are read.
_C.EXO.VIDEO_TYPE = "all"
# Names of the heads of the exo half, one per kind of label; for csv, its label columns. Leave it
# and EXO.NUM_CLASSES_LIST empty if exo clips have no labels.
_C.EXO.HEAD_NAMES = ["verb", "noun"]
# Number of classes of each of EXO.HEAD_NAMES. LEMMA has 25 verbs and 64 nouns.
_C.EXO.NUM_CLASSES_LIST = [25, 64]

# Further exo sets, whose clips are mixed with those of EXO.DATASET (TRAIN.DATASET ego_exo). Each
# is a mapping of NAME, the prefix of its segment ids and head names, the keys above that differ
# from EXO's (PATH_PREFIX defaults to empty), and LABEL_MAP, the SUML.PAIRS.LABEL_MAP of this set.
#   [{NAME: wall, DATASET: lemma, PATH_TO_DATA_DIR: data/wall, NUM_CLASSES_LIST: [12, 30]}]
# Each set has separate heads. Pairs are mined across all sets.
_C.EXO.MORE = []
# Sampling weights of the exo sets: one for EXO, then one for each of EXO.MORE. Each candidate of an
# ego segment is drawn with the weight of its set. For a clip without a pair, a set is drawn first,
# by weight. Empty gives all sets the same weight.
_C.EXO.WEIGHTS = []

# Frames of an exo clip in the fast pathway; a multiple of SLOWFAST.ALPHA.
_C.EXO.NUM_FRAMES = number(32, at_least=1)
# Stride between the frames of an exo clip, in frames of the exo video.
_C.EXO.SAMPLING_RATE = number(2, at_least=1)
# Where a clip is cut.
#   segment: inside its segment.
#   first_frame: centred on the first frame of the segment; the clip may extend beyond the segment
#     (published).
_C.EXO.CLIP_POSITION = choice("segment", "first_frame")
# Use a random scale, crop and flip in validation too (published).
_C.EXO.RANDOM_IN_VALIDATION = False
# Standard deviation of the PCA lighting in training. 0 disables it.
_C.EXO.LIGHTING_STD = number(0.1, at_least=0)
# Channel order of exo clips as input to the model. Published exo weights need rgb.
_C.EXO.CHANNEL_ORDER = choice("rgb", "bgr")
# Backbone of the exo half, with the values of MODEL.BACKBONE. Empty means MODEL.BACKBONE.
_C.EXO.BACKBONE = ""
# Checkpoint with the initial weights of the exo half: an exo-only file, or a dual one, from which
# only the exo half is read. Empty means the exo weights of TRAIN.CHECKPOINT_FILE_PATH if it has
# any, else its single backbone.
_C.EXO.CHECKPOINT_FILE_PATH = path("")
# Number of stages of a dual model's exo backbone to freeze, as MODEL.FREEZE_STAGES. With all stages
# frozen, the exo half is a fixed teacher; its heads and projections are still trained.
_C.EXO.FREEZE_STAGES = number(0, at_least=0)

# ---------------------------------------------------------------------------------------------
# Features instead of frames
# ---------------------------------------------------------------------------------------------
_C.FEATURES = Section()
# Files of ego features, or folders of them, for TRAIN.ON_FEATURES. They may contain more segments
# than the run needs. Layout: docs/training.md.
_C.FEATURES.EGO = path([])
# As FEATURES.EGO, for the exo view.
_C.FEATURES.EXO = path([])

# ---------------------------------------------------------------------------------------------
# SUM-L: semantic alignment of the two views (arXiv 2308.11489)
# ---------------------------------------------------------------------------------------------
_C.SUML = Section()
# Train with the losses of this section. Needs TRAIN.DATASET ego_exo.
_C.SUML.ENABLE = False
# Encoder of the narrations: the name of a sentence-transformers model, its folder, or package:NAME
# for the folder `model` inside the installed Python package NAME.
_C.SUML.ENCODER = path("paraphrase-multilingual-MiniLM-L12-v2")
# Folder of the cached narration embeddings, one file per encoder.
_C.SUML.CACHE_DIR = path("data/narrations")
# Width D of the narration embeddings and of the projections.
_C.SUML.EMBED_DIM = number(384, at_least=1)
# Temperature tau of all contrastive terms.
_C.SUML.TEMPERATURE = number(0.06, above=0)

# Take negatives from all processes. False takes them from the same process, as published.
_C.SUML.GATHER = True
# Which clips are negatives of a clip in the contrastive terms (not in triplet and soft). A label
# is a verb and a noun; exo clips have the same label if they share one of each. In the alignment,
# an exo clip has the label of the ego clip it is paired with. With several exo sets (EXO.MORE), exo
# clips are also compared by the ego classes of their labels, with clips of all sets and, in the
# alignment, with ego clips.
#   all: all other clips (published).
#   drop_same_label: all except those with the same label.
#   drop_same_text: all except those with the same narration (in the alignment, of either clip).
#   multi_positive: clips with the same label are additional positives instead; the loss takes the
#     logarithm of the sum over all positives (arXiv 2206.01670).
_C.SUML.NEGATIVES = choice("all", "drop_same_label", "drop_same_text", "multi_positive")
# Negatives of a narration in the text terms.
#   both: narrations and clips (published).
#   video: clips only. Similarities between narrations are constant but make up most of the sum.
_C.SUML.TEXT_NEGATIVES = choice("both", "video")
# Take negatives from the whole batch if SOLVER.ACCUMULATE splits it, at the cost of a second
# forward pass of each part (arXiv 2101.06983). False takes them from the clips of the same part.
_C.SUML.GRAD_CACHE = False
# Add a second exo clip to every ego clip, drawn from the whole exo set, with or without a partner.
# It trains the exo terms, and in the alignment (dcl, dcl_weighted) it is a negative of every pair
# that SUML.NEGATIVES does not exclude; if labels decide, they are compared with those of the pair's
# exo clip. Costs one more forward and backward pass of the exo half.
_C.SUML.EXO_STREAM = False

_C.SUML.QUEUE = Section()
# Number of exo clips from recent steps, of all processes, kept as extra negatives of the alignment
# (dcl, dcl_weighted). Clips whose pair did not pass the threshold, and those that SUML.NEGATIVES
# excludes, are not used. 0 disables the queue. Useful for small batches; costs a forward pass of
# the exo half.
_C.SUML.QUEUE.SIZE = number(0, at_least=0)
# Momentum of the slow copy of the exo half that embeds the queue (arXiv 1911.05722). After every
# step, slow = MOMENTUM * slow + (1 - MOMENTUM) * weights.
_C.SUML.QUEUE.MOMENTUM = number(0.999, at_least=0, below=1)

# Weights of the loss terms in slowfast/tasks/terms, each under the key that its file registers. 0
# removes a term and its cost. Terms are summed in the order of their keys. A term reads exo clips
# unless its key begins with EGO_: if any such weight is above 0, the frames of exo clips are read.
_C.SUML.WEIGHTS = Section()
# Weight of the exo classification loss.
_C.SUML.WEIGHTS.EXO_CLS = number(0.1, at_least=0)
# Weight of the contrastive loss between ego clips and their narrations.
_C.SUML.WEIGHTS.EGO_TEXT = number(0.1, at_least=0)
# Weight of the contrastive loss between exo clips and their narrations.
_C.SUML.WEIGHTS.EXO_TEXT = number(0.1, at_least=0)
# Weight of the loss that aligns ego and exo clips.
_C.SUML.WEIGHTS.ALIGN = number(0.02, at_least=0)

_C.SUML.ALIGN = Section()
# Loss that aligns ego and exo clips.
#   dcl: decoupled contrastive loss over the pairs above the threshold (the paper).
#   dcl_weighted: dcl with pair weights by similarity (SIGMA).
#   triplet: all pairs, without a threshold (as released).
#   soft: every ego clip against every exo clip, with soft targets from their RELEVANCE and without
#     a threshold (arXiv 2303.17561, 2506.14356).
#   factorised: two exo partners, one by verb and one by noun, each with its own projections. A
#     partner with the same label is aligned, whatever the threshold (arXiv 2405.17719, 2304.06708).
#     Needs SUML.PAIRS.MINING factors.
#   none: no alignment.
_C.SUML.ALIGN.KIND = choice("dcl", "dcl_weighted", "triplet", "soft", "factorised", "none")
# Cosine of the two narrations above which a pair is aligned. It depends on the encoder:
# tools/mine_pairs.py prints how many pairs pass, and how often their labels agree.
_C.SUML.ALIGN.THRESHOLD = number(0.5, at_least=-1, at_most=1)
# Temperature of the pair weights of dcl_weighted and of the targets of soft.
_C.SUML.ALIGN.SIGMA = number(0.1, above=0)
# Relevance of an ego and an exo clip for soft.
#   text: cosine of their narrations.
#   label: 0.5 for the same verb plus 0.5 for the same noun; an exo clip has the label of the ego
#     clip it is paired with.
_C.SUML.ALIGN.RELEVANCE = choice("text", "label")
# Margin of the triplet loss.
_C.SUML.ALIGN.MARGIN = number(0.1, at_least=0)

_C.SUML.PAIRS = Section()
# Pair table, written by tools/mine_pairs.py.
_C.SUML.PAIRS.FILE = path("data/pairs.npz")
# Origin of the pairs.
#   mined: unpaired data; MINING finds the pairs.
#   paired: PAIRED_FILE lists the pairs; MINING and TOP_K have no effect. SUML.ALIGN.THRESHOLD still
#     selects the pairs that are aligned: -1 aligns all of them, including the random partner of a
#     segment that has no pair.
_C.SUML.PAIRS.MODE = choice("mined", "paired")
# CSV with the exo partners of ego segments, one pair per row (paired). Several rows of one ego
# segment give several partners.
_C.SUML.PAIRS.PAIRED_FILE = path("")
# Columns of PAIRED_FILE: id of the ego segment, id of the exo segment. If an id combines a column
# with other text, write the column in braces: ["{id}EGO", "id"].
_C.SUML.PAIRS.PAIRED_COLUMNS = ["narration_id", "exo_id"]
# How the exo candidates of an ego segment are found.
#   text: by the cosine of the narrations.
#   tiers: by the overlap of the labels (published).
#   tiers_text: by the overlap of the labels, then the cosine of the narrations.
#   factors: TOP_K nearest narrations with the same verb, and TOP_K with the same noun.
#   verb: TOP_K nearest narrations with the same verb. With labels in both views, an oracle that
#     shows how good the pairs of text could be.
_C.SUML.PAIRS.MINING = choice("text", "tiers", "tiers_text", "factors", "verb")
# Exo candidates per ego segment. Training draws one of them uniformly in each epoch.
_C.SUML.PAIRS.TOP_K = number(3, at_least=1)
# How the nearest narrations are searched.
#   exact: all of them are compared.
#   ivf: approximate, with faiss, for lists so long that the exact search takes hours.
#     tools/mine_pairs.py logs its recall.
_C.SUML.PAIRS.INDEX = choice("exact", "ivf")
# Number of lists into which ivf divides the exo narrations. 0 means 4 * sqrt(number of narrations).
_C.SUML.PAIRS.IVF_LISTS = number(0, at_least=0)
# Number of lists that ivf searches for each ego narration. Raise it for a higher recall.
_C.SUML.PAIRS.IVF_PROBES = number(32, at_least=1)
# CSV (kind, exo, ego_class) that corrects or extends the map from exo to ego classes. Empty means
# the public class tables alone.
_C.SUML.PAIRS.LABEL_MAP = path("")
# Control experiment: permute the candidates among the ego segments, seeded by RNG_SEED. Each exo
# segment is drawn as often as before, but the pairs are random.
_C.SUML.PAIRS.SHUFFLE = False

# ---------------------------------------------------------------------------------------------
# Model
# ---------------------------------------------------------------------------------------------
_C.MODEL = Section()
# Registered name of the model.
#   SlowFast: one head with MODEL.NUM_CLASSES classes.
#   MultiTaskSlowFast: the ego model, with the heads of MODEL.HEAD_NAMES.
#   ExoSlowFast: the exo model, multi-label, with the heads of EXO.HEAD_NAMES.
#   EgoExoSlowFast: the dual model of SUM-L.
_C.MODEL.MODEL_NAME = "MultiTaskSlowFast"
# Backbone of the model; in a dual model, of the ego half.
#   slowfast: SlowFast, configured by RESNET and SLOWFAST.
#   torchvision:NAME: r3d_18, mc3_18, r2plus1d_18, s3d, mvit_v1_b, mvit_v2_s, swin3d_t, _s or _b.
#   transformers:FOLDER: VideoMAE, TimeSformer, ViViT or V-JEPA 2, by its config.json.
#   features:WIDTH: none; features of WIDTH channels are read from files (TRAIN.ON_FEATURES).
# torchvision and transformers set NUM_FRAMES, SAMPLING_RATE, crop sizes, MEAN, STD and
# CHANNEL_ORDER to the values that the backbone was trained with, unless a file or an override sets
# them.
_C.MODEL.BACKBONE = "slowfast"
# Share one backbone between the two halves of a dual model: half the weights, one set of batch-norm
# statistics.
_C.MODEL.SHARE_BACKBONE = False
# Pooling of the backbone's features before the heads.
#   linear: their mean (for a transformer with a class token, that token), then a linear layer.
#   attentive: cross-attention of one learned query over all positions, then a linear layer, as in
#     V-JEPA's evaluation (arXiv 2404.08471, section 4.1).
_C.MODEL.PROBE = choice("linear", "attentive")
# Number of classes of the model SlowFast, which has one head.
_C.MODEL.NUM_CLASSES = number(400, at_least=1)
# Names of the heads in logs, results and predictions: lower-case letters, digits and underscores.
# For csv, they are its label columns. The joint prediction is called action for the heads verb and
# noun, and all for any others.
_C.MODEL.HEAD_NAMES = ["verb", "noun"]
# Number of classes of each of MODEL.HEAD_NAMES. EPIC-KITCHENS-100 has 97 verbs and 300 nouns,
# EPIC-KITCHENS-55 has 125 and 352.
_C.MODEL.NUM_CLASSES_LIST = [97, 300]
# Classification loss: cross_entropy for one class per clip, bce_logit for multi-label clips.
_C.MODEL.LOSS_FUNC = choice("cross_entropy", "bce_logit")
# Probability of dropping a pooled feature in training.
_C.MODEL.DROPOUT_RATE = number(0.5, at_least=0, below=1)
# Standard deviation of the initial weights of linear layers.
_C.MODEL.FC_INIT_STD = number(0.01, at_least=0)
# Activation of the scores in eval mode. Multi-label heads (LOSS_FUNC bce_logit, all exo heads)
# always use sigmoid.
_C.MODEL.HEAD_ACT = choice("softmax", "sigmoid")
# Pooling of the features.
#   global: one average over time and space.
#   window: one average per window of DATA.CROP_SIZE. Each is classified, then the scores are
#     averaged.
_C.MODEL.HEAD_POOL = choice("global", "window")
# Number of backbone stages to freeze, with their batch-norm statistics; in a dual model, of the ego
# half. For SlowFast, 1 freezes the stem, 5 the whole backbone. For a transformer,
# 1 freezes the embeddings, and each further stage is a layer.
_C.MODEL.FREEZE_STAGES = number(0, at_least=0)

# Store clips and weights with the channels innermost, for speed. Values differ by rounding.
_C.MODEL.CHANNELS_LAST = False
# Compute convolutions over space or time alone as 2-D convolutions, for speed. Values differ by
# rounding.
_C.MODEL.CONV_2D = False
# How MODEL.CHANNELS_LAST and MODEL.CONV_2D are chosen.
#   as_set: by these two keys.
#   auto: also enable the ones measured to be faster on the run's device, and log them: both for
#     convolutional SlowFast backbones on a CPU (NUM_GPUS 0), neither on CUDA (not measured).
_C.MODEL.SPEED_OPTIONS = choice("as_set", "auto")
# Run the backbones through torch.compile, for speed. Values differ by rounding. The first step
# takes minutes; on a CPU it needs a C++ compiler.
_C.MODEL.COMPILE = False
# Mode of torch.compile, for MODEL.COMPILE True.
#   default: the compiler's kernels.
#   reduce-overhead: also CUDA graphs, which launch all kernels of a backbone at once. Uses more
#     memory; faster if small batches leave the GPU waiting for the host. Not yet tested on a GPU.
_C.MODEL.COMPILE_MODE = choice("default", "reduce-overhead")
# Stages whose activations are recomputed in the backward pass instead of stored (activation
# checkpointing). Saves memory at the cost of about a third more computation.
_C.MODEL.RECOMPUTE_STAGES = subset(
    [], of=["s1", "s1_fuse", "s2", "s2_fuse", "s3", "s3_fuse", "s4", "s4_fuse", "s5"]
)

_C.HANDOBJ = Section()
# Marks the config of a published Ego-Exo* model, whose hand and object heads are not supported. A
# test ignores their weights; training is an error.
_C.HANDOBJ.ENABLE = False

# ResNet of each pathway. Lists give [slow, fast] for each of the stages s2 to s5.
_C.RESNET = Section()
# Number of weight layers.
_C.RESNET.DEPTH = choice(50, 101)
# Groups of the 3x3 convolutions. More than 1 gives a ResNeXt.
_C.RESNET.NUM_GROUPS = number(1, at_least=1)
# Channels per group in s2 of the slow pathway; a multiple of SLOWFAST.BETA_INV.
_C.RESNET.WIDTH_PER_GROUP = number(64, at_least=1)
# Let ReLU overwrite its input, which saves memory.
_C.RESNET.INPLACE_RELU = True
# Initialise the last norm of every block to zero.
_C.RESNET.ZERO_INIT_FINAL_BN = False
# Number of blocks in each stage with the stage's temporal kernel; the others have a kernel of 1.
_C.RESNET.NUM_BLOCK_TEMP_KERNEL = per_stage([[3, 3], [4, 4], [6, 6], [3, 3]], at_least=0)
# Spatial stride of each stage.
_C.RESNET.SPATIAL_STRIDES = per_stage([[1, 1], [2, 2], [2, 2], [2, 2]], at_least=1)
# Spatial dilation of each stage.
_C.RESNET.SPATIAL_DILATIONS = per_stage([[1, 1], [1, 1], [1, 1], [1, 1]], at_least=1)

# Ratios and lateral connections of the two pathways, in both views.
_C.SLOWFAST = Section()
# Frame-rate ratio of the fast to the slow pathway.
_C.SLOWFAST.ALPHA = number(4, at_least=1)
# Channel ratio of the slow to the fast pathway.
_C.SLOWFAST.BETA_INV = number(8, at_least=1)
# Channels of a lateral connection, relative to the fast pathway.
_C.SLOWFAST.FUSION_CONV_CHANNEL_RATIO = number(2, at_least=1)
# Temporal kernel size of a lateral connection, in frames. Published R50 models have 7.
_C.SLOWFAST.FUSION_KERNEL_SZ = odd_number(5)

# Batch norm.
_C.BN = Section()
# Statistics used for normalisation in training.
#   batchnorm: those of the clips of one process and step.
#   sync_batchnorm: those of the clips of all processes. On CUDA the host waits for the device in
#     every layer.
#   frozen: the running statistics as loaded, never updated. Scale and shift are still trained.
_C.BN.NORM_TYPE = choice("batchnorm", "sync_batchnorm", "frozen")
# Recompute the statistics before each validation and each checkpoint of a finished epoch.
_C.BN.USE_PRECISE_STATS = False
# Number of training batches for USE_PRECISE_STATS.
_C.BN.NUM_BATCHES_PRECISE = number(200, at_least=1)
# Weight decay of batch-norm parameters.
_C.BN.WEIGHT_DECAY = number(0.0, at_least=0)

# ---------------------------------------------------------------------------------------------
# Solver
# ---------------------------------------------------------------------------------------------
_C.SOLVER = Section()
# Initial learning rate of the policy, for TRAIN.BATCH_SIZE clips. It is not scaled implicitly.
_C.SOLVER.BASE_LR = number(0.1, at_least=0)
# Batch size that BASE_LR and WARMUP_START_LR are given for. Both are multiplied by
# TRAIN.BATCH_SIZE / BASE_LR_BATCH_SIZE. 0 disables the scaling. Set it to the batch size
# of one machine for the effect of BASE_LR_SCALE_NUM_SHARDS True in PySlowFast.
_C.SOLVER.BASE_LR_BATCH_SIZE = number(0, at_least=0)
# Learning rate over the epochs: half a cosine down to 0, or constant factors from given epochs.
_C.SOLVER.LR_POLICY = choice("cosine", "steps_with_relative_lrs")
# Epochs at which the factors in LRS take effect; the first is 0 (steps_with_relative_lrs).
_C.SOLVER.STEPS = []
# Factors of BASE_LR, one per entry of STEPS (steps_with_relative_lrs).
_C.SOLVER.LRS = []
# Number of training epochs.
_C.SOLVER.MAX_EPOCH = number(30, at_least=1)
# Epochs of linear warm-up, from WARMUP_START_LR to the learning rate of the policy.
_C.SOLVER.WARMUP_EPOCHS = number(0.0, at_least=0)
# Learning rate at the start of the warm-up.
_C.SOLVER.WARMUP_START_LR = number(0.01, at_least=0)

# Optimizer.
_C.SOLVER.OPTIMIZING_METHOD = choice("sgd", "adam", "adamw")
# Momentum of sgd.
_C.SOLVER.MOMENTUM = number(0.9, at_least=0, below=1)
# Dampening of the momentum of sgd.
_C.SOLVER.DAMPENING = number(0.0, at_least=0, below=1)
# Use Nesterov momentum in sgd. Needs DAMPENING 0.
_C.SOLVER.NESTEROV = True
# Number of non-finite steps to tolerate. A step with a non-finite loss or gradient on any rank
# is not applied; one more than this number stops the run.
_C.SOLVER.SKIP_NONFINITE = number(0, at_least=0)
# Weight decay of all parameters except those of batch norm (BN.WEIGHT_DECAY).
_C.SOLVER.WEIGHT_DECAY = number(1e-4, at_least=0)
# Learning rate of a backbone stage relative to the stage after it (layer-wise decay), for
# fine-tuning transformers; 0.75 is common. 1 gives all stages the same rate.
_C.SOLVER.LAYER_DECAY = number(1.0, above=0, at_most=1)
# Update all weights in one kernel; auto does so on CUDA. Values differ by rounding.
_C.SOLVER.FUSED = choice("auto", "always", "never")

# Largest absolute value of a gradient entry; larger ones are clipped. 0 disables it. Cannot be
# combined with CLIP_GRAD_L2NORM.
_C.SOLVER.CLIP_GRAD_VAL = number(0.0, at_least=0)
# Largest L2 norm of all gradients together; a larger one is scaled down. 0 disables it. Cannot be
# combined with CLIP_GRAD_VAL.
_C.SOLVER.CLIP_GRAD_L2NORM = number(0.0, at_least=0)
# Number of parts into which each process splits its share of the batch; their gradients are added
# up for one step. Saves memory; batch-norm statistics are those of a part. SUML.GRAD_CACHE decides
# where negatives come from. To resume on fewer processes with the same parts, raise it so that the
# total number of parts per batch stays the same.
_C.SOLVER.ACCUMULATE = number(1, at_least=1)
# Decay of the exponential moving average of weights and batch-norm statistics. The average is
# validated, kept in checkpoints next to the weights, and tested (TEST.EMA). 0 disables it.
_C.SOLVER.EMA_DECAY = number(0.0, at_least=0, below=1)

# ---------------------------------------------------------------------------------------------
# Loader, processes and log
# ---------------------------------------------------------------------------------------------
_C.DATA_LOADER = Section()
# Worker processes per training process. 0 loads in the training process itself.
_C.DATA_LOADER.NUM_WORKERS = number(8, at_least=0)
# Copy batches to page-locked memory, which makes the transfer to a GPU faster.
_C.DATA_LOADER.PIN_MEMORY = True
# Let workers reuse the same shared memory for all batches, which avoids page faults. Training,
# validation and test each map memory outside /dev/shm for the prefetched batches (2 per worker; in
# a test, 1 segment per worker) plus one: 6.9 GB per process for 8 workers and batches of 32 pairs
# of 32 x 256 x 256. A batch is then valid only until the next one is requested.
_C.DATA_LOADER.SHARED_RING = True
# Seconds to wait for a batch before a dead or hanging worker is an error. 0 waits indefinitely.
_C.DATA_LOADER.TIMEOUT = number(300, at_least=0)

_C.DISTRIBUTED = Section()
# Seconds that a process waits for the others, at the start and in every collective call, before a
# missing process is an error.
_C.DISTRIBUTED.TIMEOUT = number(1800, at_least=1)

_C.TENSORBOARD = Section()
# Write scalars and hyperparameters to OUTPUT_DIR/tensorboard. Training scalars are plotted over
# optimizer steps. The other keys of this section need it.
_C.TENSORBOARD.ENABLE = False
# Number of training pairs to log as images in every epoch: the ego clip above its exo clip, as the
# model sees them, with both narrations. 0 disables it; TRAIN.ON_FEATURES needs 0. A pair takes
# about 0.2 s.
_C.TENSORBOARD.PAIRS = number(0, at_least=0)
_C.TENSORBOARD.CONFUSION_MATRIX = Section()
# Plot a confusion matrix of every single-label head after each validation and test, with the 50
# most frequent classes. It takes about a second.
_C.TENSORBOARD.CONFUSION_MATRIX.ENABLE = False
_C.TENSORBOARD.HISTOGRAM = Section()
# Write a histogram of the similarity of the narrations of an epoch's training pairs.
_C.TENSORBOARD.HISTOGRAM.ENABLE = False


# The declarations as a yacs tree, the bounds by dotted key, and the keys that are paths.
_DEFAULTS = to_cfg(_C)
BOUNDS = dict(bounds_of(_C))
PATHS = frozenset(key for key, declaration in declarations(_C) if declaration.is_path)


def get_cfg() -> CfgNode:
    """A fresh, unfrozen copy of the defaults."""
    return _DEFAULTS.clone()

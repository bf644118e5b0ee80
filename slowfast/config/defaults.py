"""Every configuration key: its meaning, unit and allowed values.

Keys that PySlowFast users know keep their names and meaning. Paths are relative to the working
directory. `slowfast.config.load` reads YAML files over this tree, `slowfast.config.validate`
checks the merged result.
"""

from fvcore.common.config import CfgNode

_C = CfgNode()

# ---------------------------------------------------------------------------------------------
# What runs, and where it writes
# ---------------------------------------------------------------------------------------------
# Suffix of the head's name in published checkpoints (`head<TASK>.projections.0.weight`).
_C.TASK = ""
# Folder for log, checkpoints, predictions and results.
_C.OUTPUT_DIR = "runs/default"
# Seed of weights, sample order, augmentation, dropout. What a sample looks like depends on
# (RNG_SEED, epoch, index) alone.
_C.RNG_SEED = 42
# Steps between two log lines.
_C.LOG_PERIOD = 10
# Processes to start on this machine when no launcher did; 0 = one process on the CPU.
# Under torchrun the launcher decides; 0 there keeps its processes on the CPU (gloo).
_C.NUM_GPUS = 1
# Machines of a run that was started without a launcher.
_C.NUM_SHARDS = 1
# Number of this machine among them, from 0.
_C.SHARD_ID = 0

# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------
_C.TRAIN = CfgNode()
# Train (before the test, if both are on).
_C.TRAIN.ENABLE = True
# Number format of the backbones: fp32, tf32 (CUDA; the convolutions), bf16, fp16 (CUDA; with a
# dynamic loss scale). Weights, statistics, heads, losses and optimizer are float32 in all of them.
_C.TRAIN.PRECISION = "fp32"
# Data set: epickitchen (ego), lemma (exo), ego_exo (ego joined with its exo pseudo-pairs).
_C.TRAIN.DATASET = "epickitchen"
# Frame lists of training and of validation, below DATA.PATH_TO_DATA_DIR; .csv or .pkl.
_C.TRAIN.TRAIN_DATA_LIST = "EPIC_100_train.csv"
_C.TRAIN.VAL_DATA_LIST = "EPIC_100_validation.csv"
# Clips per optimizer step over all processes (PySlowFast: per machine).
_C.TRAIN.BATCH_SIZE = 64
# Epochs between two validations; the last epoch is always validated.
_C.TRAIN.EVAL_PERIOD = 1
# Epochs between two checkpoints; the last epoch always writes one.
_C.TRAIN.CHECKPOINT_PERIOD = 1
# Steps between two checkpoints inside an epoch; 0: none. Those among the last two files are kept.
_C.TRAIN.CHECKPOINT_PERIOD_ITERS = 0
# Checkpoints of finished epochs to keep, the newest ones; 0: all.
_C.TRAIN.CHECKPOINT_KEEP = 0
# Beside them, keep that of every n-th epoch; 0: none.
_C.TRAIN.CHECKPOINT_KEEP_EVERY = 0
# Validation metric that selects checkpoint_best.pyth, HEAD_METRIC, e.g. verb_top1 (names in
# docs/evaluation.md). Empty takes action_top1 of verb and noun, all_top1 of other heads, HEAD_top1
# of a single head, or mAP of multi-label ones.
_C.TRAIN.BEST_METRIC = ""
# Go on from the newest checkpoint in OUTPUT_DIR if there is one.
_C.TRAIN.AUTO_RESUME = True
# Initial weights: .pyth, .safetensors, or Caffe2 .pkl (CHECKPOINT_TYPE).
_C.TRAIN.CHECKPOINT_FILE_PATH = ""
# Format of CHECKPOINT_FILE_PATH: pytorch or caffe2.
_C.TRAIN.CHECKPOINT_TYPE = "pytorch"
# Inflate 2-D convolution weights to 3-D (repeat over time, divide by its length).
_C.TRAIN.CHECKPOINT_INFLATE = False
# Name of the head in the file when it is another task's (e.g. headepic); empty: head<TASK>.
_C.TRAIN.CHECKPOINT_HEAD = ""
# Take epoch and optimizer state from CHECKPOINT_FILE_PATH too, not only the weights.
_C.TRAIN.RESUME = False

# ---------------------------------------------------------------------------------------------
# Testing
# ---------------------------------------------------------------------------------------------
_C.TEST = CfgNode()
# Test, after training if both are on.
_C.TEST.ENABLE = True
# recognition; features (writes them); retrieval (clips and sentences); cross_view (ego and exo);
# zero_shot (class names as sentences). The last three read features, and extract them before.
_C.TEST.TASK = "recognition"
# Data set: epickitchen or lemma; for features of the dual model also ego_exo (both views).
_C.TEST.DATASET = "epickitchen"
# Frame list of the test, as TRAIN.TRAIN_DATA_LIST.
_C.TEST.DATA_LIST = "EPIC_100_validation.csv"
# Views of one segment in one forward pass of a process: the smaller of the two. A pass never mixes
# segments, and it is the same on any number of processes, so scores do not depend on that.
_C.TEST.BATCH_SIZE = 8
_C.TEST.CHUNK_VIEWS = 6
# Seconds between two saves of finished segments below OUTPUT_DIR; an interrupted test goes on from
# them, on any number of processes. 0: after every segment.
_C.TEST.PARTIAL_SEC = 60.0
# Temporal views per segment, spread evenly; 1 = the validation view.
_C.TEST.NUM_ENSEMBLE_VIEWS = 10
# Spatial crops per temporal view: 1 (centre) or 3 (along the longer side).
_C.TEST.NUM_SPATIAL_CROPS = 3
# Checkpoint to test; empty: the one just trained, else TRAIN.CHECKPOINT_FILE_PATH, else the
# newest in OUTPUT_DIR.
_C.TEST.CHECKPOINT_FILE_PATH = ""
# Format of TEST.CHECKPOINT_FILE_PATH: pytorch or caffe2.
_C.TEST.CHECKPOINT_TYPE = "pytorch"
# As TRAIN.CHECKPOINT_HEAD, for the file that is tested.
_C.TEST.CHECKPOINT_HEAD = ""
# After training, test checkpoint_best.pyth instead of the newest.
_C.TEST.LOAD_BEST = False
# Return logits instead of probabilities in eval mode.
_C.TEST.NO_ACT = False
# Predictions file below OUTPUT_DIR; empty: none is written.
_C.TEST.SAVE_PREDICT_PATH = "predictions.pkl"
# The official values by the public scorer's arithmetic too (one soft-max over all segments): both
# are in results.json, and those that differ in the table, with the reason.
_C.TEST.SCORER_COMPAT = False
# Number format, as TRAIN.PRECISION.
_C.TEST.PRECISION = "fp32"
# Fold batch norm into the convolutions before it: faster; the scores differ by rounding.
_C.TEST.FOLD_BN = False
# Test the averaged weights of a checkpoint that has them (SOLVER.EMA_DECAY).
_C.TEST.EMA = True
# Split of the exo set that is tested: train, val or test.
_C.TEST.EXO_SPLIT = "test"
_C.TEST.FEATURES = CfgNode()
# Folder of the features; empty: `features` below OUTPUT_DIR. Features of another test in a folder
# that is named are an error; below OUTPUT_DIR they are replaced.
_C.TEST.FEATURES.DIR = ""
# Keep the features of every distinct view too, from which recognition needs no backbone:
# 4 x channels bytes per view, 2.7 GB for 9,668 segments x 30 views x 2,304 channels.
_C.TEST.FEATURES.PER_VIEW = True
_C.TEST.RETRIEVAL = CfgNode()
# Sentences (CSV narration_id, narration) in DATA.PATH_TO_DATA_DIR. Empty:
# EPIC_100_retrieval_test_sentence.csv if it is there, else every distinct narration of the list.
_C.TEST.RETRIEVAL.SENTENCES = ""
_C.TEST.CROSS_VIEW = CfgNode()
# Pair table of the two lists that are tested (tools/mine_pairs.py), whose pairs are compared with
# random ones; empty: only segments that share verb and noun are.
_C.TEST.CROSS_VIEW.PAIRS = ""
_C.TEST.ZERO_SHOT = CfgNode()
# Sentences of a verb and of a noun class, {} for its name; several are averaged.
_C.TEST.ZERO_SHOT.VERB_PROMPTS = ["{}"]
_C.TEST.ZERO_SHOT.NOUN_PROMPTS = ["{}"]

# ---------------------------------------------------------------------------------------------
# Ego data
# ---------------------------------------------------------------------------------------------
_C.DATA = CfgNode()
# Folder of the frame lists and class tables.
_C.DATA.PATH_TO_DATA_DIR = "data/epic-100/annotations"
# Folder of the frames. Known layouts below it are probed once per video.
_C.DATA.PATH_PREFIX = "data/epic-100/dataset"
# More frame folders, tried in order when a video is not below PATH_PREFIX.
_C.DATA.FALLBACK_PATH_PREFIXES = ["data/epic-55/train_rgb_frames", "data/epic-55/test_rgb_frames"]
# Frame lists are EPIC-KITCHENS-100's (else EPIC-KITCHENS-55's).
_C.DATA.EPIC_100 = False
# Added to every annotated frame number to get the file number (files are 1-based).
_C.DATA.FRAME_INDEX_OFFSET = 0
# Frames of a clip (fast pathway; a multiple of SLOWFAST.ALPHA) and the step between them, in
# frames of the video.
_C.DATA.NUM_FRAMES = 32
_C.DATA.SAMPLING_RATE = 2
# Pixels: the short side is drawn from this range in training, then a square is cropped.
_C.DATA.TRAIN_JITTER_SCALES = [256, 320]
_C.DATA.TRAIN_CROP_SIZE = 224
# Pixels: the short side and the crop in validation and test.
_C.DATA.TEST_CROP_SIZE = 256
# Pixels: the crop that 7x7 pooling windows are laid out for (MODEL.HEAD_POOL window).
_C.DATA.CROP_SIZE = 224
# Draw 1/scale uniformly instead of the scale.
_C.DATA.INV_UNIFORM_SAMPLE = False
# Mirror half of the training clips (both views).
_C.DATA.RANDOM_FLIP = True
# Per-channel mean and standard deviation of pixels in 0..1, in the order of the channels.
_C.DATA.MEAN = [0.45, 0.45, 0.45]
_C.DATA.STD = [0.225, 0.225, 0.225]
# Order of the colour channels at the model: bgr or rgb (published ego weights: bgr).
_C.DATA.CHANNEL_ORDER = "bgr"
# Reverse the channels of both views (the published override).
_C.DATA.REVERSE_INPUT_CHANNEL = False
# JPEG decoder: auto (simplejpeg, else opencv), simplejpeg, opencv. All give equal pixels.
_C.DATA.DECODER = "auto"
# How often a read of a frame's file that fails (also: missing, or shorter than its size) is
# repeated, for network file systems; pauses of 0.1 s, 0.2 s, 0.4 s ... at most 5 s. A file that was
# read to its end and is no whole JPEG is not read again.
_C.DATA.RETRIES = 0
# A frame that is missing or cannot be decoded: error, or nearest (the nearest readable frame of its
# segment stands in, the earlier of two; the log names each file and counts them).
_C.DATA.ON_BAD_FRAME = "error"
# Where frames are resized: worker (in uint8, at most 1 grey level beside the published float
# pipeline), device (exact; the worker only decodes and cuts, but still shrinks videos that are
# larger than the clip, in test those of over twice the pixels), auto (device on CUDA, else worker).
_C.DATA.RESIZE_ON = "auto"
# Joins the scores of a segment's views: sum (their mean is taken) or max.
_C.DATA.ENSEMBLE_METHOD = "sum"

# ---------------------------------------------------------------------------------------------
# Exo data (third-person, unpaired)
# ---------------------------------------------------------------------------------------------
_C.EXO = CfgNode()
# Data set of the exo half of ego_exo.
_C.EXO.DATASET = "lemma"
# Root of the annotations (annotations/full, annotations/splits, annotations/metadata below it).
_C.EXO.PATH_TO_DATA_DIR = "data/lemma"
# Folder that the image paths of the annotations start from; empty: PATH_TO_DATA_DIR.
_C.EXO.PATH_PREFIX = ""
# View that is read (fpv, tpv) and the file of segments (the published code reads fpv for both).
_C.EXO.VIEW = "tpv"
_C.EXO.SEGMENTS_VIEW = "tpv"
# Which split files are read: annotations/splits/<VIDEO_TYPE>_<split>.json.
_C.EXO.VIDEO_TYPE = "all"
# Kinds of labels of an exo clip: their names, and the number of classes of each; both empty where
# exo clips have no labels.
_C.EXO.HEAD_NAMES = ["verb", "noun"]
_C.EXO.NUM_CLASSES_LIST = [25, 64]
# Frames of an exo clip and the step between them, in frames of the exo video.
_C.EXO.NUM_FRAMES = 32
_C.EXO.SAMPLING_RATE = 2
# segment: the clip lies inside its segment; first_frame: it is centred on the segment's first
# frame and may leave it (published).
_C.EXO.CLIP_POSITION = "segment"
# Keep scale, crop and flip random in validation (published).
_C.EXO.RANDOM_IN_VALIDATION = False
# Standard deviation of PCA lighting in training; 0: off.
_C.EXO.LIGHTING_STD = 0.1
# Order of the colour channels at the model: bgr or rgb (published exo weights: rgb).
_C.EXO.CHANNEL_ORDER = "rgb"
# Initial weights of the exo half: an exo-only file or the exo half of a dual file. Empty: the
# exo weights of TRAIN.CHECKPOINT_FILE_PATH if it has any, else its single backbone.
_C.EXO.CHECKPOINT_FILE_PATH = ""

# ---------------------------------------------------------------------------------------------
# SUM-L: semantic alignment (arXiv 2308.11489)
# ---------------------------------------------------------------------------------------------
_C.SUML = CfgNode()
# Train with the losses below; TRAIN.DATASET is then ego_exo.
_C.SUML.ENABLE = False
# Sentence encoder: a sentence-transformers name or a folder; package:NAME is the folder `model`
# that the installed Python package NAME carries.
_C.SUML.ENCODER = "paraphrase-multilingual-MiniLM-L12-v2"
# Folder of the narration embeddings (one file per encoder).
_C.SUML.CACHE_DIR = "data/narrations"
# Width D of the embeddings and of the projections.
_C.SUML.EMBED_DIM = 384
# Temperature tau of every contrastive term.
_C.SUML.TEMPERATURE = 0.06
# Negatives from all processes (False: from one's own, as published).
_C.SUML.GATHER = True
# Which clips are negatives of a clip in the contrastive terms (not in triplet and soft): all
# (published); drop_same_label (not those of the same verb and noun; of exo clips, those that share
# one of each); drop_same_text (not those of the same narration; in the alignment: of either clip);
# multi_positive (those of the same label are positives beside its own: the log of the sum over all,
# arXiv 2206.01670). In the alignment an exo clip has the label of the ego clip joined with it.
_C.SUML.NEGATIVES = "all"
# Negatives of a narration in the text terms: both (narrations and clips, published), or video
# (clips alone: the similarities of narrations are constants, and most of the sum).
_C.SUML.TEXT_NEGATIVES = "both"
# With SOLVER.ACCUMULATE above 1: negatives from the whole batch, for a second forward pass of each
# part (arXiv 2101.06983). False: from the parts' own clips.
_C.SUML.GRAD_CACHE = False
# A second exo clip for every ego clip, any one of the exo set, with or without a partner: it trains
# the exo terms, and is a negative of all pairs in the alignment (dcl, dcl_weighted), unless
# SUML.NEGATIVES rules it out (by label: that of the pair's exo clip). Costs its forward and
# backward pass.
_C.SUML.EXO_STREAM = False
_C.SUML.QUEUE = CfgNode()
# For small batches: so many exo clips of the last steps, of all processes, are negatives in the
# alignment too (dcl, dcl_weighted), but those whose pair did not pass the threshold, and those that
# SUML.NEGATIVES rules out. Costs a forward pass of the exo half. 0: none.
_C.SUML.QUEUE.SIZE = 0
# A slow copy of the exo half embeds them (arXiv 1911.05722), after every step
# slow = MOMENTUM * slow + (1 - MOMENTUM) * weights.
_C.SUML.QUEUE.MOMENTUM = 0.999
# Weights of the terms; 0 removes a term and its cost.
_C.SUML.WEIGHTS = CfgNode()
# Exo classification, view alignment, ego to its narration, exo to its narration.
_C.SUML.WEIGHTS.EXO_CLS = 0.1
_C.SUML.WEIGHTS.ALIGN = 0.02
_C.SUML.WEIGHTS.EGO_TEXT = 0.1
_C.SUML.WEIGHTS.EXO_TEXT = 0.1
_C.SUML.ALIGN = CfgNode()
# dcl (the paper), dcl_weighted, triplet (as released: unfiltered), soft (every ego clip to every
# exo clip, as their relevance says: arXiv 2303.17561, 2506.14356; no threshold), factorised (two
# exo partners, one by verb and one by noun, each with projections of its own; a partner that has
# the label is aligned, whatever the threshold: arXiv 2405.17719, 2304.06708; with PAIRS.MINING
# factors), none.
_C.SUML.ALIGN.KIND = "dcl"
# Only pairs whose narrations are more similar than this cosine are aligned. What it means depends
# on the encoder: tools/mine_pairs.py prints how many pairs pass and how often their labels agree.
_C.SUML.ALIGN.THRESHOLD = 0.5
# Temperature of the pair weights of dcl_weighted, and of the targets of soft.
_C.SUML.ALIGN.SIGMA = 0.1
# soft: relevance of an ego and an exo clip: text (cosine of their narrations), or label (0.5 for
# the same verb, 0.5 for the same noun; an exo clip has the label of the ego clip joined with it).
_C.SUML.ALIGN.RELEVANCE = "text"
# Margin of the triplet.
_C.SUML.ALIGN.MARGIN = 0.1
_C.SUML.PAIRS = CfgNode()
# Pair table, written by tools/mine_pairs.py.
_C.SUML.PAIRS.FILE = "data/pairs.npz"
# text (cosine of the narrations), tiers (label overlap), tiers_text (tier, then text), factors
# (the nearest narrations of those with the same verb, and of those with the same noun: TOP_K each).
_C.SUML.PAIRS.MINING = "text"
# Exo candidates per ego segment; training draws one of them uniformly.
_C.SUML.PAIRS.TOP_K = 3
# How text finds the nearest narrations: exact, or ivf (faiss, approximate: for lists so long that
# the exact search takes hours; tools/mine_pairs.py logs how many of the nearest it finds).
_C.SUML.PAIRS.INDEX = "exact"
# ivf: lists that the exo narrations are divided into (0: 4 * sqrt of their number), and how many
# of them each ego narration is compared with.
_C.SUML.PAIRS.IVF_LISTS = 0
_C.SUML.PAIRS.IVF_PROBES = 32
# CSV `kind,exo,ego_class` over the exo-to-ego class map of the label tiers; empty: only the
# public class tables.
_C.SUML.PAIRS.LABEL_MAP = ""
# Control: hand the candidates of every ego segment to another one, drawn by RNG_SEED, which leaves
# how often each exo segment is drawn but no meaning in the pairs.
_C.SUML.PAIRS.SHUFFLE = False

# ---------------------------------------------------------------------------------------------
# Model
# ---------------------------------------------------------------------------------------------
_C.MODEL = CfgNode()
# SlowFast (one head), MultiTaskSlowFast, ExoSlowFast (multi-label), EgoExoSlowFast.
_C.MODEL.MODEL_NAME = "MultiTaskSlowFast"
# Classes of the one head of SlowFast.
_C.MODEL.NUM_CLASSES = 400
# Heads of the multi-task models: their names in logs, results and predictions, and the number of
# classes of each. EPIC-KITCHENS: verb and noun.
_C.MODEL.HEAD_NAMES = ["verb", "noun"]
_C.MODEL.NUM_CLASSES_LIST = [97, 300]
# cross_entropy or bce_logit (multi-label).
_C.MODEL.LOSS_FUNC = "cross_entropy"
# Probability that a pooled feature is dropped in training.
_C.MODEL.DROPOUT_RATE = 0.5
# Standard deviation of the initial weights of linear layers.
_C.MODEL.FC_INIT_STD = 0.01
# Activation of the scores in eval mode: softmax or sigmoid (ExoSlowFast: always sigmoid).
_C.MODEL.HEAD_ACT = "softmax"
# global: one average over time and space; window: 7x7 windows of CROP_SIZE, activation, mean.
_C.MODEL.HEAD_POOL = "global"
# Freeze the first n stages (1: the stem, ... 5: the whole backbone) of the ego half.
_C.MODEL.FREEZE_STAGES = 0
# Speed; the values differ by rounding at most. Clips and weights with the channels innermost;
# convolutions over space or time alone as 2-D ones; backbones through torch.compile, which needs a
# C++ compiler on a CPU and takes minutes at the first step.
_C.MODEL.CHANNELS_LAST = False
_C.MODEL.CONV_2D = False
_C.MODEL.COMPILE = False
# Stages, of [s1, s1_fuse, ... s4_fuse, s5], whose activations are not kept in training but computed
# again in the backward pass (activation checkpointing): less memory, about a third more work.
_C.MODEL.RECOMPUTE_STAGES = []

_C.HANDOBJ = CfgNode()
# A published Ego-Exo* file: its hand and object heads are not here. Testing works without them;
# training is refused.
_C.HANDOBJ.ENABLE = False

_C.RESNET = CfgNode()
# Weight layers: 50 or 101.
_C.RESNET.DEPTH = 50
# Groups of the 3x3 convolutions (ResNeXt: more than 1).
_C.RESNET.NUM_GROUPS = 1
# Channels per group in s2 of the slow pathway; a multiple of SLOWFAST.BETA_INV.
_C.RESNET.WIDTH_PER_GROUP = 64
# ReLU overwrites its input, which saves memory.
_C.RESNET.INPLACE_RELU = True
# Initialise the last norm of every block to zero.
_C.RESNET.ZERO_INIT_FINAL_BN = False
# Per stage s2..s5, per pathway: blocks that have the stage's temporal kernel (the rest have 1),
# spatial stride and dilation.
_C.RESNET.NUM_BLOCK_TEMP_KERNEL = [[3, 3], [4, 4], [6, 6], [3, 3]]
_C.RESNET.SPATIAL_STRIDES = [[1, 1], [2, 2], [2, 2], [2, 2]]
_C.RESNET.SPATIAL_DILATIONS = [[1, 1], [1, 1], [1, 1], [1, 1]]

_C.SLOWFAST = CfgNode()
# Frame-rate ratio of the fast to the slow pathway; both views.
_C.SLOWFAST.ALPHA = 4
# Channel ratio of the slow to the fast pathway.
_C.SLOWFAST.BETA_INV = 8
# Lateral connections: channels relative to the fast pathway, temporal kernel size.
_C.SLOWFAST.FUSION_CONV_CHANNEL_RATIO = 2
_C.SLOWFAST.FUSION_KERNEL_SZ = 5

_C.BN = CfgNode()
# batchnorm: statistics of the clips of one process and step. sync_batchnorm: of all processes (CUDA
# only; PyTorch's makes the host wait for the device in every layer). frozen: the running
# statistics, which stay as loaded; scale and shift are trained.
_C.BN.NORM_TYPE = "batchnorm"
# Measure the batch-norm statistics anew before each validation and each checkpoint of a whole
# epoch.
_C.BN.USE_PRECISE_STATS = False
# Training batches that they are measured on.
_C.BN.NUM_BATCHES_PRECISE = 200
# Weight decay of batch-norm parameters.
_C.BN.WEIGHT_DECAY = 0.0

# ---------------------------------------------------------------------------------------------
# Solver
# ---------------------------------------------------------------------------------------------
_C.SOLVER = CfgNode()
# Learning rate of BATCH_SIZE clips; nothing is scaled implicitly.
_C.SOLVER.BASE_LR = 0.1
# Batch size that BASE_LR and WARMUP_START_LR are meant for: both are scaled by TRAIN.BATCH_SIZE
# over it; 0: not scaled. (PySlowFast's BASE_LR_SCALE_NUM_SHARDS True is the batch size of one
# machine.)
_C.SOLVER.BASE_LR_BATCH_SIZE = 0
# cosine or steps_with_relative_lrs.
_C.SOLVER.LR_POLICY = "cosine"
# steps_with_relative_lrs: epochs at which the factors LRS (of BASE_LR) begin.
_C.SOLVER.STEPS = []
_C.SOLVER.LRS = []
# Epochs of a training.
_C.SOLVER.MAX_EPOCH = 30
# Epochs of linear warm-up and the learning rate that it begins with.
_C.SOLVER.WARMUP_EPOCHS = 0.0
_C.SOLVER.WARMUP_START_LR = 0.01
# sgd, adam or adamw.
_C.SOLVER.OPTIMIZING_METHOD = "sgd"
# sgd only: momentum, its dampening, Nesterov's form (which allows no dampening).
_C.SOLVER.MOMENTUM = 0.9
_C.SOLVER.DAMPENING = 0.0
_C.SOLVER.NESTEROV = True
# Steps with a loss or gradient that is not finite, on any rank, change nothing; more of them than
# this end the training.
_C.SOLVER.SKIP_NONFINITE = 0
# Weight decay of all parameters but those of batch norm (BN.WEIGHT_DECAY).
_C.SOLVER.WEIGHT_DECAY = 1e-4
# One kernel for all weights: always, never, auto (on CUDA). The update differs by rounding.
_C.SOLVER.FUSED = "auto"
# Bound of every gradient entry, or of the L2 norm of all gradients; 0: none. One of the two.
_C.SOLVER.CLIP_GRAD_VAL = 0.0
_C.SOLVER.CLIP_GRAD_L2NORM = 0.0
# Parts that a process's share of the batch goes through the model in, one after the other, for one
# step: memory of a part, and batch-norm statistics of each part. SUML.GRAD_CACHE says where the
# negatives come from then.
_C.SOLVER.ACCUMULATE = 1
# Decay of the moving average of weights and statistics, which is validated, kept in checkpoints
# beside the weights, and tested (TEST.EMA); 0: none.
_C.SOLVER.EMA_DECAY = 0.0

# ---------------------------------------------------------------------------------------------
# Loader and log
# ---------------------------------------------------------------------------------------------
_C.DATA_LOADER = CfgNode()
# Worker processes per training process; 0 loads in the process itself.
_C.DATA_LOADER.NUM_WORKERS = 8
# Copy batches to page-locked memory, from where they reach a GPU faster.
_C.DATA_LOADER.PIN_MEMORY = True
# Workers fill the same shared memory again and again, which spares page faults: as much of it as
# batches may wait (2 per worker; in test 1 segment), and one more, for training, validation, test
# each, below /dev/shm (8 workers and 32 pairs of 32 x 256 x 256: 6.9 GB a process). What the
# loader gives out then holds until the next is asked for.
_C.DATA_LOADER.SHARED_RING = True
# Seconds to wait for a batch before a dead or hanging worker is an error; 0: for ever.
_C.DATA_LOADER.TIMEOUT = 300

_C.DISTRIBUTED = CfgNode()
# Seconds that a process waits for the others, at the start and in every collective call, before one
# that does not come is an error.
_C.DISTRIBUTED.TIMEOUT = 1800

_C.TENSORBOARD = CfgNode()
# Scalars into OUTPUT_DIR/tensorboard.
_C.TENSORBOARD.ENABLE = False


def get_cfg() -> CfgNode:
    """A fresh, unfrozen copy of the defaults."""
    return _C.clone()

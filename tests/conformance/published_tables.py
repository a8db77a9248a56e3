"""Tables behind ``published_models``: which library model a published row is, and why the others are none.

Every pattern is matched against the whole name (or source) of a row; the first that matches wins.
"""

from __future__ import annotations

from typing import Any, NamedTuple

TV, TIMM = "torchvision", "timm"

# What one unit of each quantity stands for. All are of one forward pass in eval mode, batch 1.
QUANTITIES = {
    "conv_linear": "multiply-accumulates of convolutions and linear layers; adding a bias is not one",
    "matmul": "multiply-accumulates of other matrix products (attention scores, their product with the values)",
    "missing_bias": "Cin / groups * Cout per convolution without bias, Cout per linear layer without bias; independent of the feature map",
    "norm": "elements entering a batch, group or instance normalisation",
    "relu": "elements entering ReLU or ReLU6",
    "leaky_relu": "elements entering LeakyReLU",
    "sigmoid": "elements entering a sigmoid",
    "silu": "elements entering SiLU (its own sigmoid and product are not counted again)",
    "pool": "window elements over all outputs of max and average pooling (padding included), kh * kw * C * Ho * Wo; an adaptive pooling "
    "(or a mean over height and width) counts its input, or nothing where it keeps the size",
    "squeeze": "the part of `pool` that is global pooling inside a block (squeeze-and-excitation), not the one before the classifier",
    "softmax": "elements entering a softmax",
    "shuffle": "elements permuted by a channel shuffle",
    "upsample": "elements entering nearest-neighbour upsampling",
}

# Published MACs = sum of weight * quantity. Additions, products, concatenations, padding and dropout count nothing anywhere.
# The two osmr/imgclsmob conventions are FLOPs / 2: FLOPs weigh twice what is written here. There, a convolution without bias
# is credited with one addition less per weight of a 1x1 kernel (once, not once per output position).
_IMGCLSMOB = {
    "conv_linear": 1.0,
    "missing_bias": -0.5,
    "norm": 2.0,
    "relu": 0.5,
    "leaky_relu": 1.0,
    "sigmoid": 2.0,
    "silu": 2.5,
    "pool": 0.5,
    "softmax": 2.0,
    "shuffle": 0.5,
    "upsample": 2.0,
}
CONVENTIONS: dict[str, dict[str, float]] = {
    "contraction": {"conv_linear": 1.0, "matmul": 1.0},
    "pytorchcv": _IMGCLSMOB,
    "gluoncv2": _IMGCLSMOB | {"squeeze": -0.5},  # squeezes are functional calls there, and its hooks see modules only
}


class Rule(NamedTuple):
    """Rows whose name matches `pattern` are `name` (a regex template, lower-cased) of `library`."""

    pattern: str
    library: str
    name: str
    kwargs: dict[str, Any] = {}  # noqa: RUF012  string values are regex templates of Python literals
    counting: str = "contraction"


def _imgclsmob(pattern: str, library: str, name: str, counting: str = "pytorchcv", **kwargs: Any) -> Rule:
    return Rule("imgclsmob:" + pattern, library, name, kwargs, counting)


_TWELVE, _FOURTEEN, _SIXTEEN, _TWENTY_SIX = (2, 1, 1, 1), (2, 2, 1, 1), (2, 2, 2, 1), (3, 3, 3, 3)
_ONE, _TWO = (1, 1, 1, 1), (2, 2, 2, 2)

RULES: tuple[Rule, ...] = (
    Rule(r"timm:(\w+)", TIMM, r"\1"),
    Rule(r"torchvision:(vit_b_16):\w+_E2E_V1", TV, r"\1", {"image_size": 384}),
    Rule(r"torchvision:(vit_l_16):\w+_E2E_V1", TV, r"\1", {"image_size": 512}),
    Rule(r"torchvision:(vit_h_14):\w+_E2E_V1", TV, r"\1", {"image_size": 518}),
    Rule(r"torchvision:(inception_v3):\w+", TV, r"\1", {"init_weights": False}),
    Rule(r"torchvision:(\w+)(:\w+)?", TV, r"\1"),
    Rule(r"MobileNetV1 alpha=1\.0 @\d+", TIMM, "mobilenetv1_100"),
    Rule(r"MobileNetV2 alpha=([\d.]+) @\d+", TV, "mobilenet_v2", {"width_mult": r"\1"}),
    Rule(r"MobileNetV3 Large dm=1", TV, "mobilenet_v3_large"),
    Rule(r"MobileNetV3 Large dm=0\.75", TIMM, "mobilenetv3_large_075"),
    Rule(r"EfficientNet-B([236]) paper", TV, r"efficientnet_b\1"),
    Rule(r"GhostNet 0\.5x paper", TIMM, "ghostnet_050"),
    Rule(r"pytorchcv:squeezenet_v(1_[01])", TV, r"squeezenet\1"),
    Rule(r"pytorchcv:shufflenetv2_w1", TV, "shufflenet_v2_x1_0"),
    Rule(r"pytorchcv:mobilenet_w1", TIMM, "mobilenetv1_100"),
    Rule(r"pytorchcv:mnasnet_b1", TV, "mnasnet1_0"),
    Rule(r"pytorchcv:fbnet_cb", TIMM, "fbnetc_100"),
    Rule(r"pytorchcv:spnasnet", TIMM, "spnasnet_100"),
    Rule(r"pytorchcv:efficientnet_b([01])", TV, r"efficientnet_b\1"),
    _imgclsmob(r"AlexNet-b", TV, "alexnet"),
    _imgclsmob(r"VGG-(\d+)", TV, r"vgg\1"),
    _imgclsmob(r"BN-VGG-19b", TV, "vgg19_bn"),
    _imgclsmob(r"ResNet-12", TIMM, "resnet18", layers=_TWELVE),
    _imgclsmob(r"ResNet-16", TIMM, "resnet18", layers=_SIXTEEN),
    _imgclsmob(r"ResNet-BC-26b", TIMM, "resnet26"),
    _imgclsmob(r"ResNet-BC-38b", TIMM, "resnet50", layers=_TWENTY_SIX),
    _imgclsmob(r"ResNet-(50|152)b", TV, r"resnet\1"),
    _imgclsmob(r"ResNet\(A\)-18", TIMM, "resnet18d"),
    _imgclsmob(r"ResNet\(D\)-(101|152)b", TIMM, r"resnet\1s", output_stride=8),
    _imgclsmob(r"ResNeXt-14 \((16|32)x([24])d\)", TIMM, "resnext50_32x4d", layers=_ONE, cardinality=r"\1", base_width=r"\2"),
    _imgclsmob(r"ResNeXt-26 \(32x([24])d\)", TIMM, "resnext50_32x4d", layers=_TWO, base_width=r"\1"),
    _imgclsmob(r"ResNeXt-(50) \((32x4d)\)", TV, r"resnext\1_\2"),
    _imgclsmob(r"ResNeXt-(101) \((32x4d)\)", TIMM, r"resnext\1_\2"),
    _imgclsmob(r"ResNeXt-(101) \((64x4d)\)", TV, r"resnext\1_\2"),
    _imgclsmob(r"SE-ResNet-101b", TIMM, "seresnet101"),
    _imgclsmob(r"SE-ResNet-(101|152)", TIMM, r"legacy_seresnet\1", counting="gluoncv2"),
    _imgclsmob(r"SE-ResNeXt-(50|101) \((32x4d|64x4d)\)", TIMM, r"seresnext\1_\2"),
    _imgclsmob(r"SENet-16", TIMM, "senet154", layers=_ONE, cardinality=32),
    _imgclsmob(r"SENet-28", TIMM, "senet154", layers=_TWO, cardinality=32),
    _imgclsmob(r"SENet-154", TIMM, "legacy_senet154", counting="gluoncv2"),
    _imgclsmob(r"RegNet([XY])-(\d)00MF", TIMM, r"regnet\1_00\2"),
    _imgclsmob(r"RegNet([XY])-(\d)\.(\d)GF", TIMM, r"regnet\1_0\2\3"),
    _imgclsmob(r"RegNet([XY])-(\d\d)GF", TIMM, r"regnet\1_\g<2>0"),
    _imgclsmob(r"DenseNet-201", TV, "densenet201"),
    _imgclsmob(r"DPN-(\d+)", TIMM, r"dpn\1"),
    _imgclsmob(r"DarkNet-53", TIMM, "darknet53"),
    _imgclsmob(r"HRNetV2-W(\d+)", TIMM, r"hrnet_w\1"),
    _imgclsmob(r"SelecSLS-42b", TIMM, "selecsls42b"),
    _imgclsmob(r"SqueezeNet v1\.([01])", TV, r"squeezenet1_\1"),
    _imgclsmob(r"ShuffleNetV2 x1\.0", TV, "shufflenet_v2_x1_0"),
    _imgclsmob(r"ShuffleNetV2b x0\.5", TV, "shufflenet_v2_x0_5"),
    _imgclsmob(r"MobileNet x1\.0", TIMM, "mobilenetv1_100"),
    _imgclsmob(r"MnasNet-B1", TV, "mnasnet1_0"),
    _imgclsmob(r"MnasNet-A1", TIMM, "semnasnet_100"),
    _imgclsmob(r"Xception", TIMM, "legacy_xception"),
    _imgclsmob(r"InceptionV([34])", TIMM, r"inception_v\1"),
    _imgclsmob(r"InceptionResNetV2", TIMM, "inception_resnet_v2"),
    _imgclsmob(r"EfficientNet-B0", TV, "efficientnet_b0"),
    _imgclsmob(r"EfficientNet-B(\d)(b|c\*)", TIMM, r"tf_efficientnet_b\1"),  # b and c pad like TensorFlow
    _imgclsmob(r"MixNet-([SML])", TIMM, r"mixnet_\1"),
)

# Input side of rows that name it only as the native size or the crop of the weights; 224 where nothing is said here.
SIDES = {
    "torchvision:efficientnet_b1:IMAGENET1K_V2": 240,
    "torchvision:efficientnet_b2:IMAGENET1K_V1": 288,
    "torchvision:efficientnet_b3:IMAGENET1K_V1": 300,
    "torchvision:efficientnet_b4:IMAGENET1K_V1": 380,
    "torchvision:efficientnet_v2_l:IMAGENET1K_V1": 480,
    "torchvision:efficientnet_v2_m:IMAGENET1K_V1": 480,
    "torchvision:inception_v3:IMAGENET1K_V1": 299,
    "torchvision:regnet_y_32gf:IMAGENET1K_SWAG_E2E_V1": 384,
    "torchvision:vit_b_16:IMAGENET1K_SWAG_E2E_V1": 384,
    "torchvision:vit_h_14:IMAGENET1K_SWAG_E2E_V1": 518,
    "torchvision:vit_l_16:IMAGENET1K_SWAG_E2E_V1": 512,
    "imgclsmob:EfficientNet-B1b": 240,
    "imgclsmob:EfficientNet-B2c*": 260,
    "imgclsmob:EfficientNet-B3b": 300,
    "imgclsmob:EfficientNet-B4c*": 380,
    "imgclsmob:EfficientNet-B5b": 456,
    "imgclsmob:EfficientNet-B5c*": 456,
    "imgclsmob:EfficientNet-B6b": 528,
    "imgclsmob:EfficientNet-B7c*": 600,
    "imgclsmob:EfficientNet-B8c*": 672,
    "imgclsmob:InceptionResNetV2": 299,
    "imgclsmob:InceptionV3": 299,
    "imgclsmob:InceptionV4": 299,
    "imgclsmob:Xception": 299,
}

# Data sets whose rows keep the ImageNet architecture with another number of classes.
NUM_CLASSES = {"CUB-200-2011": 200}

# Step between two printed values, by source: (parameters, MACs). Rows with integers on both sides are exact.
STEPS: tuple[tuple[str, str, int, int], ...] = (
    ("osmr/imgclsmob .*", ".*", 0, 10**4),
    ("torchvision [0-9.]+ weights meta", ".*", 0, 10**6),
    ("tensorflow/models .*", "MobileNetV3 .*", 10**5, 10**6),
    ("paper .*", "GhostNet .*", 10**5, 10**6),
    ("arXiv:1905.11946 .*", "EfficientNet-B2 paper", 10**5, 10**8),
    ("arXiv:1905.11946 .*", "EfficientNet-B3 paper", 10**6, 10**8),
    ("arXiv:1905.11946 .*", "EfficientNet-B[67] paper", 10**6, 10**9),
    ("tensorflow/tpu .*", "MnasNet-A1 .*", 10**5, 10**5),
)

_HIDDEN = "the published hidden classifier layer has 1280 units, the library's 1024"
_NO_CONVENTION = "published table is in another convention, and no convention tried reproduces it"
NO_OP_POOL = "the published count has 1x1 average poolings, which compute nothing and which the library leaves out"
DLA = "timm's trees of several levels run the same max pooling once per level, the published ones once"
EXTRA_RELU = "timm's block has one ReLU more, before the squeeze"
STEM_NORM = "timm has no batch normalisation between stem and pooling"
_STEM_NORM_AND_STRIDE = (
    "timm has no batch normalisation between stem and pooling, and strides in the 3x3 instead of the first 1x1 convolution"
)
_FIRST_STRIDE = "the published bottleneck strides in its first 1x1 convolution, the library's in the 3x3"
_EDGE = "the published blocks stride in the 1x1 projection, timm's in the 3x3 expansion"
_SHUFFLE_WIDTHS = "other widths in the downsampling units, or another last width"
NO_CONVOLUTION_BIAS = "published convolutions have no bias"
NO_BIAS = "the published classifier has no bias"
_VARIANT = "another variant (an expansion in the first block, unrounded widths, no classifier bias)"

# Rows whose nearest library model has another number of something: (why, of what) -> row -> (model, computed).
MISMATCHES: dict[tuple[str, str], dict[str, tuple[str, float]]] = {
    (NO_BIAS, "parameters"): {
        "ShuffleNetV2 0.5x": ("torchvision shufflenet_v2_x0_5", 1366792),
        "pytorchcv:mobilenetv2b_w1": ("torchvision mobilenet_v2", 3504872),
        "imgclsmob:MobileNetV2b x1.0": ("torchvision mobilenet_v2", 3504872),
    },
    (_SHUFFLE_WIDTHS, "parameters"): {
        "ShuffleNetV2 1.0x": ("torchvision shufflenet_v2_x1_0", 2278604),
        "ShuffleNetV2 1.5x": ("torchvision shufflenet_v2_x1_5", 3503624),
        "ShuffleNetV2 2.0x": ("torchvision shufflenet_v2_x2_0", 7393996),
        "pytorchcv:shufflenetv2_w2": ("torchvision shufflenet_v2_x2_0", 7393996),
        "imgclsmob:ShuffleNetV2 x2.0": ("torchvision shufflenet_v2_x2_0", 7393996),
        "imgclsmob:ShuffleNetV2b x1.0": ("torchvision shufflenet_v2_x1_0", 2278604),
        "imgclsmob:ShuffleNetV2b x1.5": ("torchvision shufflenet_v2_x1_5", 3503624),
        "imgclsmob:ShuffleNetV2b x2.0": ("torchvision shufflenet_v2_x2_0", 7393996),
    },
    (_VARIANT, "parameters"): {
        "pytorchcv:mobilenetv2_w3d4": ("torchvision mobilenet_v2(width_mult=0.75)", 2636424),
        "pytorchcv:mobilenetv2_w1": ("torchvision mobilenet_v2", 3504872),
        "imgclsmob:MobileNetV2 x0.5": ("torchvision mobilenet_v2(width_mult=0.5)", 1968680),
        "imgclsmob:MobileNetV2 x1.0": ("torchvision mobilenet_v2", 3504872),
        "imgclsmob:MobileNetV2b x0.25": ("torchvision mobilenet_v2(width_mult=0.25)", 1519112),
        "imgclsmob:MobileNetV2b x0.75": ("torchvision mobilenet_v2(width_mult=0.75)", 2636424),
    },
    ("timm's NASNet has six cells a stage, the published one four", "parameters"): {
        "pytorchcv:nasnet_4a1056": ("timm nasnetalarge(stem_size=32, num_features=1056)", 7188490),
    },
    (NO_CONVOLUTION_BIAS, "parameters"): {
        "imgclsmob:BN-VGG-11": ("torchvision vgg11_bn", 132868840),
        "imgclsmob:BN-VGG-13": ("torchvision vgg13_bn", 133053736),
        "imgclsmob:BN-VGG-16": ("torchvision vgg16_bn", 138365992),
        "imgclsmob:BN-VGG-19": ("torchvision vgg19_bn", 143678248),
    },
    ("no batch normalisation after the published depthwise convolutions", "parameters"): {
        "imgclsmob:MobileNetb x1.0": ("timm mobilenetv1_100", 4231976),
    },
    ("not the same network", "parameters"): {
        "FBNet fbnet_c": ("timm fbnetc_100", 5572200),
        "FBNet FBNetV3_A": ("timm fbnetv3_b", 8598464),
    },
    ("not the same layers, though the MACs agree", "parameters"): {
        "FBNet FBNetV3_G": ("timm fbnetv3_g", 16623888),
        "FBNet mnv3": ("torchvision mobilenet_v3_large", 5483032),
    },
    (STEM_NORM, "parameters"): {
        "imgclsmob:PreResNet-10": ("timm resnetv2_18(layers=(1, 1, 1, 1))", 5417000),
        "imgclsmob:PreResNet-14": ("timm resnetv2_18(layers=(2, 2, 1, 1))", 5786408),
        "imgclsmob:PreResNet-BC-14b": ("timm resnetv2_50(layers=(1, 1, 1, 1))", 10057256),
        "imgclsmob:PreResNet-16": ("timm resnetv2_18(layers=(2, 2, 2, 1))", 6967080),
        "imgclsmob:PreResNet-18": ("timm resnetv2_18", 11687720),
        "imgclsmob:PreResNet-50b": ("timm resnetv2_50", 25549352),
        "imgclsmob:PreResNet-152b": ("timm resnetv2_152", 60185128),
        "imgclsmob:PreResNet-200b": ("timm resnetv2_50(layers=(3, 24, 36, 3))", 64666152),
    },
    (_STEM_NORM_AND_STRIDE, "parameters"): {
        "imgclsmob:PreResNet-50": ("timm resnetv2_50", 25549352),
        "imgclsmob:PreResNet-101": ("timm resnetv2_101", 44541480),
    },
    (_HIDDEN, "parameters"): {"pytorchcv:mobilenetv3_small_w1": ("torchvision mobilenet_v3_small", 2542856)},
    (_HIDDEN, "M MACs"): {
        "MobileNetV3 Small dm=0.75": ("timm mobilenetv3_small_075", 43.399344),
    },
    ("published to two digits, but neither rounded nor cut", "M MACs"): {
        "EfficientNet-B7 paper": ("torchvision efficientnet_b7", 37745.884192),
    },
    (_NO_CONVENTION, "M MACs"): {
        "MobileNetV3 Small dm=1": ("torchvision mobilenet_v3_small", 56.5104),
        "MobileNetV3 Small minimalistic": ("timm tf_mobilenetv3_small_minimal_100", 52.288448),
        "MnasNet-A1 dm=1.4 @224": ("timm semnasnet_140", 586.317952),
        "MnasNet-A1 dm=0.75 @224": ("timm semnasnet_075", 223.448480),
        "MnasNet-A1 dm=0.5 @224": ("timm semnasnet_050", 103.162992),
        "MnasNet-A1 dm=1.4 @192": ("timm semnasnet_140", 431.237312),
        "MnasNet-A1 dm=1 @192": ("timm semnasnet_100", 229.322144),
        "MnasNet-A1 dm=0.75 @192": ("timm semnasnet_075", 164.545376),
        "MnasNet-A1 dm=0.5 @192": ("timm semnasnet_050", 76.149824),
        "MnasNet-A1 dm=0.75 @160": ("timm semnasnet_075", 114.704288),
        "MnasNet-A1 dm=0.5 @160": ("timm semnasnet_050", 53.292528),
        "MnasNet-A1 dm=1.4 @128": ("timm semnasnet_140", 192.651712),
        "MnasNet-A1 dm=0.5 @128": ("timm semnasnet_050", 34.591104),
        "MnasNet-A1 dm=1.4 @96": ("timm semnasnet_140", 109.146752),
        "MnasNet-A1 dm=1 @96": ("timm semnasnet_100", 58.480832),
        "MnasNet-A1 dm=0.75 @96": ("timm semnasnet_075", 42.208160),
        "MnasNet-A1 dm=0.5 @96": ("timm semnasnet_050", 20.045552),
    },
    (_FIRST_STRIDE, "M MACs"): {
        "imgclsmob:ResNet-50": ("torchvision resnet50", 4110.48),
        "imgclsmob:ResNet-152": ("torchvision resnet152", 11554.38),
    },
    (EXTRA_RELU, "M MACs"): {
        "imgclsmob:SE-ResNet-10": ("timm legacy_seresnet18(layers=(1, 1, 1, 1))", 894.46),
        "imgclsmob:SE-ResNet-14": (f"timm legacy_seresnet18(layers={_FOURTEEN})", 1358.67),
        "imgclsmob:SE-ResNet-16": (f"timm legacy_seresnet18(layers={_SIXTEEN})", 1590.12),
        "imgclsmob:SE-ResNet-26": (f"timm legacy_seresnet18(layers={_TWENTY_SIX})", 2748.06),
        "imgclsmob:SE-ResNet-10 on CUB-200-2011": ("timm legacy_seresnet18(layers=(1, 1, 1, 1), num_classes=200)", 894.05),
        "imgclsmob:SE-ResNet-14 on CUB-200-2011": (f"timm legacy_seresnet18(layers={_FOURTEEN}, num_classes=200)", 1358.26),
        "imgclsmob:SE-ResNet-16 on CUB-200-2011": (f"timm legacy_seresnet18(layers={_SIXTEEN}, num_classes=200)", 1589.71),
        "imgclsmob:SE-ResNet-26 on CUB-200-2011": (f"timm legacy_seresnet18(layers={_TWENTY_SIX}, num_classes=200)", 2747.65),
    },
    (NO_OP_POOL, "M MACs"): {
        "imgclsmob:ResNet(A)-BC-14": ("timm resnet50d(layers=(1, 1, 1, 1))", 1721.47),
        "imgclsmob:ResNet(A)-50b": ("timm resnet50d", 4352.83),
        "imgclsmob:ResNet(A)-101b": ("timm resnet101d", 8072.83),
        "imgclsmob:ResNet(A)-152b": ("timm resnet152d", 11796.73),
        "imgclsmob:ResNeSt(A)-BC-14": ("timm resnest14d", 2767.27),
        "imgclsmob:ResNeSt(A)-BC-26": ("timm resnest26d", 3646.47),
        "imgclsmob:ResNeSt(A)-101": ("timm resnest101e", 10247.68),
        "imgclsmob:ResNeSt(A)-152": ("timm resnest101e(layers=(3, 8, 36, 3))", 13976.13),
        "imgclsmob:ResNeSt(A)-200": ("timm resnest200e at 256", 22857.62),
    },
    (DLA, "M MACs"): {
        "imgclsmob:DLA-46-C": ("timm dla46_c", 585.57),
        "imgclsmob:DLA-60": ("timm dla60", 4255.89),
        "imgclsmob:DLA-X-60": ("timm dla60x", 3544.08),
        "imgclsmob:DLA-X-60-C": ("timm dla60x_c", 596.21),
        "imgclsmob:DLA-102": ("timm dla102", 7191.66),
        "imgclsmob:DLA-X2-102": ("timm dla102x2", 9341.31),
        "imgclsmob:DLA-169": ("timm dla169", 11594.21),
    },
    ("the first reduction cell runs at 22x22 there and at 21x21 in timm", "M MACs"): {
        "imgclsmob:PNASNet-5-Large": ("timm pnasnet5large at 331", 25098.22),
    },
    (_EDGE, "M MACs"): {
        "imgclsmob:EfficientNet-Edge-Small-b*": ("timm efficientnet_es", 1808.52),
        "imgclsmob:EfficientNet-Edge-Medium-b*": ("timm efficientnet_em at 240", 3046.25),
        "imgclsmob:EfficientNet-Edge-Large-b*": ("timm efficientnet_el at 300", 8007.70),
    },
}

_ABSENT = "no such network in torchvision or timm"
_CELLS = "cells of a search: not in torchvision or timm"

NAME_REASONS: tuple[tuple[str, str], ...] = (
    (r"(MobileNetV1 alpha=|imgclsmob:MobileNetb? x)0\.\d+.*", "timm builds MobileNetV1 at widths 1.0 and 1.25 only"),
    (r"imgclsmob:IBN.*", "instance-batch normalisation is in neither library"),
    (r"imgclsmob:SqueezeResNet .*", "SqueezeNet with shortcuts is in neither library (the plain network has the same costs)"),
    (r"imgclsmob:AlexNet", "AlexNet at its original widths; torchvision builds the other variant, AlexNet-b"),
    (r"imgclsmob:ResNet-18 x0\.25|imgclsmob:PreResNet-18 x0\.5", "neither library scales the widths of a ResNet's stem"),
    (r"imgclsmob:SE-PreResNet-.*", "no pre-activation network with squeeze-and-excitation in torchvision or timm"),
    (r"imgclsmob:ResNeSt\(A\)-18", "timm builds ResNeSt from bottlenecks only"),
    (r"imgclsmob:(ZFNet|AirNe|BAM|SCNet|DiracNet|CondenseNet|PeleeNet|DRN|i-RevNet|BagNet|FishNet|ESPNet|DiCENet|HarDNet).*", _ABSENT),
    (r"imgclsmob:([\d.]+-SqNxt|ShuffleNet x|\d+-MENet|FD-MobileNet|IGCV3|ProxylessNAS|InceptionResNetV1|PolyNet).*", _ABSENT),
    (r"imgclsmob:DARTS|pytorchcv:darts", _CELLS),
    (r"pytorchcv:(shufflenet_|igcv3_|proxylessnas_|espnetv2_|condensenet).*", _ABSENT + ", pytorchcv only"),
    (r"ShuffleNetV(1 |2\+).*|(IGCV2|CondenseNet|ESPNetv2) .*|FBNet FBNetV2_L\d|(FBNet-[AB]|ChamNet-[AB]) caffe2", _ABSENT),
    (r"MnasNet-A1 dm=0\.35 .*", "timm builds MnasNet-A1 at widths 0.5 to 1.4 only"),
    (r"proxyless_\w+|OFA .*", "a searched network given by its configuration: not in torchvision or timm"),
    (r"NAS-Bench-(201|Macro) .*", "a network of a benchmark's search space: not in torchvision or timm"),
    (r"(NASNet|AmoebaNet|DARTS_V1|PC_DARTS_\w+|PDARTS|SNAS_MILD|ALL_\w+) (no-|\+)aux", _CELLS),
    (r"(PC-)?DARTS search supernet .*", "a search supernet: not in torchvision or timm"),
    (r".* published", _CELLS),
    (r".* searched net", "cells given in a figure only"),
)

_SMALL_IMAGES = "a network for 32x32 images (its stem and stages): not in torchvision or timm"
DATASET_REASONS = dict.fromkeys(("CIFAR-10", "CIFAR-100", "SVHN"), _SMALL_IMAGES)

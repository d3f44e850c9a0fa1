"""Holds what makers of delegates publish of the operators they take, and where each list stands.

A limit is the latest version of an operator and what it may compute on: `f` floats, `q` quantized numbers of 8 bits,
`i` int32, `b` bool. Recurrent operators are left out, as no network of pictures has them.
"""

from __future__ import annotations

from collections.abc import Mapping

Limit = tuple[int, str]


def _limits(listed: Mapping[Limit, str]) -> dict[str, Limit]:
    return {name: limit for limit, names in listed.items() for name in names.split()}


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


ANY = 99
"""Of versions: no latest one is published."""

GPU = _limits(
    {
        (ANY, "f"): "CUMSUM",
        (ANY, "fib"): "CAST",
        (ANY, "fqi"): """ABS ADD ADD_N ATAN2 AVERAGE_POOL_2D BATCH_MATMUL BITCAST CEIL CONCATENATION CONV_2D COS
            DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EXP FLOOR
            FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC MAXIMUM MAX_POOL_2D
            MEAN MINIMUM MIRROR_PAD MUL NEG ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_MAX REDUCE_MIN REDUCE_PROD
            RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RIGHT_SHIFT ROUND RSQRT
            SIGN SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM
            TANH TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV""",
        (ANY, "fqib"): """EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL LOGICAL_AND LOGICAL_NOT LOGICAL_OR NOT_EQUAL
            REDUCE_ALL REDUCE_ANY SELECT SELECT_V2""",
    }
)
"""tflite/tools/versioning/gpu_compatibility.cc of google-ai-edge/LiteRT, commit 007226f: numbers of 8 bits are computed
as floats; pixels, uint8, are not cast. What depends on shapes is not looked at."""

NNAPI = _limits(
    {
        (1, "f"): "ABS COS DIV ELU EXP L2_POOL_2D LOG LOG_SOFTMAX POW REDUCE_PROD SIN SQRT SUM",
        (1, "b"): "LOGICAL_AND LOGICAL_NOT LOGICAL_OR",
        (1, "fq"): "LEAKY_RELU PRELU",
        (1, "fqi"): "CAST EXPAND_DIMS RESHAPE TILE",
        (1, "fqib"): "FILL FLOOR LOCAL_RESPONSE_NORMALIZATION SQUEEZE",
        (2, "f"): "RSQRT",
        (2, "q"): "DEQUANTIZE",
        (2, "fi"): "NEG",
        (
            2,
            "fq",
        ): """AVERAGE_POOL_2D CONCATENATION DEPTH_TO_SPACE HARD_SWISH LOGISTIC MAX_POOL_2D MEAN PAD PADV2 QUANTIZE
            REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_N1_TO_1 SOFTMAX SPACE_TO_DEPTH STRIDED_SLICE TANH UNPACK""",
        (2, "fqi"): """ADD ARG_MAX ARG_MIN BATCH_MATMUL GATHER MIRROR_PAD MUL PACK SLICE SPLIT_V SQUARED_DIFFERENCE
            TOPK_V2""",
        (
            2,
            "fqib",
        ): """BATCH_TO_SPACE_ND EQUAL GREATER GREATER_EQUAL L2_NORMALIZATION LESS LESS_EQUAL NOT_EQUAL REDUCE_ANY
            SELECT SPACE_TO_BATCH_ND TRANSPOSE""",
        (3, "fq"): "DEPTHWISE_CONV_2D RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR",
        (3, "fqi"): "MAXIMUM MINIMUM REVERSE_V2 SPLIT SUB",
        (4, "fq"): "TRANSPOSE_CONV",
        (5, "fq"): "CONV_2D FULLY_CONNECTED",
    }
)
"""`NNAPIDelegateKernel::Validate` in tflite/delegates/nnapi/nnapi_delegate.cc of google-ai-edge/LiteRT, commit 5c8a6d4,
for the latest NNAPI that it knows, no accelerator named. Android 15 deprecates NNAPI."""

COREML = _limits(
    {
        (1, "f"): """ADD AVERAGE_POOL_2D CONCATENATION CONV_2D HARD_SWISH LOGISTIC MAX_POOL_2D MEAN MIRROR_PAD MUL PAD
            PADV2 RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR SOFTMAX TANH TRANSPOSE_CONV""",
        (2, "f"): "DEPTHWISE_CONV_2D",
        (6, "f"): "FULLY_CONNECTED",
    }
)
"""tflite/delegates/coreml/README.md of google-ai-edge/LiteRT, commit 7d88950; what versions and numbers it takes, and
MEAN, stand in coreml_delegate.mm beside it, commit 470f4da."""

ONNX_NNAPI = _names("""
    Abs Add AveragePool Cast Clip Concat Conv DepthToSpace DequantizeLinear Div Elu Exp Flatten Floor Gather Gemm
    GlobalAveragePool GlobalMaxPool Identity Log MatMul Max MaxPool Min Mul Neg PRelu Pad Pow QLinearConv QLinearMatMul
    QuantizeLinear Relu Reshape Resize Sigmoid Sin Slice Softmax Sqrt Squeeze Sub Tanh Transpose Unsqueeze
    com.microsoft:QLinearAdd com.microsoft:QLinearAveragePool com.microsoft:QLinearSigmoid
""")
"""tools/ci_build/github/android/nnapi_supported_ops.md of microsoft/onnxruntime, commit 5308675."""

ONNX_COREML = _names("""
    Add ArgMax AveragePool Cast Ceil Clip Concat Conv ConvTranspose Cos DepthToSpace Div Elu Erf Exp GatherND Gelu Gemm
    GlobalAveragePool GlobalMaxPool GridSample GroupNormalization HardSigmoid Identity InstanceNormalization
    LayerNormalization LeakyRelu MatMul Max MaxPool Mul PRelu Pow Range Reciprocal ReduceMax ReduceMean ReduceSum Relu
    Reshape Resize Round Shape Sigmoid Sin Slice Softmax Softplus Split Sqrt Squeeze Sub Tanh Tile Transpose Unsqueeze
""")
"""tools/ci_build/github/apple/coreml_supported_mlprogram_ops.md of microsoft/onnxruntime, commit 04f568d."""

ONNX_GPU = _names("""
    Abs Acos Acosh Add ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Clip Concat Conv
    ConvTranspose Cos Cosh CumSum DFT DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand Flatten Floor
    Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample
    HardSigmoid HardSwish If InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log MatMul MaxPool Mul
    Neg Not Pad Pow Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ScatterND Shape Sigmoid Sin Sinh Slice Softmax Split Sqrt
    Squeeze Sub Tan Tanh ThresholdedRelu Tile Transpose Unsqueeze Where
""")
"""docs/webgpu-operators.md of the npm package onnxruntime-web 1.30.0, for a GPU through WebGPU."""

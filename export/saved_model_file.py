"""What a SavedModel would do, read from its file before anything of it is loaded.

TensorFlow runs whatever a graph says: operations read and write files, open connections, call Python.
So every operation, in functions and their branches too, must be on a list of those that only compute.
"""

import pathlib

ALLOWED = frozenset(
    name
    for line in (
        # Constants, arguments, variables, calls and control flow.
        "Const Placeholder PlaceholderWithDefault NoOp Identity IdentityN StopGradient PreventGradient "
        "Snapshot ShapeN Shape Size Rank EnsureShape Assert VarHandleOp ReadVariableOp VariableShape "
        "VarIsInitializedOp AssignVariableOp DestroyResourceOp DisableCopyOnRead PartitionedCall "
        "StatefulPartitionedCall If StatelessIf Case StatelessCase While StatelessWhile LoopCond Enter "
        "Exit NextIteration Merge Switch RefSwitch RefMerge ResourceGather ResourceGatherNd "
        "TensorListReserve TensorListFromTensor TensorListStack TensorListSetItem TensorListGetItem "
        "TensorListElementShape TensorListLength EmptyTensorList TensorListPushBack TensorListPopBack "
        "TensorListConcatV2 TensorListSplit TensorListGather TensorListScatterV2 "
        # Shapes, choice and order.
        "Reshape Transpose ConjugateTranspose Squeeze ExpandDims Pack Unpack Concat ConcatV2 "
        "ConcatOffset Split SplitV Slice StridedSlice StridedSliceGrad TensorStridedSliceUpdate Gather "
        "GatherV2 GatherNd ScatterNd TensorScatterUpdate TensorScatterAdd TensorScatterSub "
        "TensorScatterMax TensorScatterMin Tile BroadcastTo BroadcastArgs BroadcastGradientArgs Fill "
        "ZerosLike OnesLike Range LinSpace OneHot Pad PadV2 MirrorPad Reverse ReverseV2 ReverseSequence "
        "Roll Where Select SelectV2 TopK TopKV2 InTopK InTopKV2 Unique UniqueV2 ArgMax ArgMin "
        "InvertPermutation DynamicStitch ParallelDynamicStitch DynamicPartition MatrixDiag MatrixDiagV2 "
        "MatrixDiagV3 MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixSetDiag MatrixSetDiagV2 "
        "MatrixSetDiagV3 MatrixBandPart Diag DiagPart DepthToSpace SpaceToDepth BatchToSpaceND "
        "SpaceToBatchND BatchToSpace SpaceToBatch LowerBound UpperBound Bincount "
        "DenseBincount Cast Bitcast CheckNumerics "
        # Elementwise mathematics and comparisons.
        "Abs Acos Acosh Add AddN AddV2 AccumulateNV2 Angle ApproximateEqual Asin Asinh Atan Atan2 Atanh "
        "BesselI0 BesselI0e BesselI1 BesselI1e Betainc BitwiseAnd BitwiseOr BitwiseXor Ceil ClipByValue "
        "Complex ComplexAbs Conj Cos Cosh Digamma Div DivNoNan Elu EluGrad Equal Erf Erfc Erfinv Exp "
        "Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Igamma Igammac Imag Inv Invert IsFinite "
        "IsInf IsNan LeakyRelu LeakyReluGrad LeftShift Less LessEqual Lgamma Log Log1p LogicalAnd "
        "LogicalNot LogicalOr Maximum Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual "
        "Polygamma PopulationCount Pow Real RealDiv Reciprocal ReciprocalGrad Relu Relu6 Relu6Grad "
        "ReluGrad RightShift Rint Round Rsqrt RsqrtGrad Selu SeluGrad Sigmoid SigmoidGrad Sign Sin Sinh "
        "Softplus SoftplusGrad Softsign SoftsignGrad Sqrt SqrtGrad Square SquaredDifference Sub Tan "
        "Tanh TanhGrad TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta "
        # Reductions, matrices, transforms.
        "All Any Max Mean Min Prod Sum EuclideanNorm Cumsum Cumprod CumulativeLogsumexp SegmentMax "
        "SegmentMean SegmentMin SegmentProd SegmentSum UnsortedSegmentMax UnsortedSegmentMin "
        "UnsortedSegmentProd UnsortedSegmentSum MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum "
        "Cross Cholesky MatrixInverse MatrixDeterminant MatrixSolve MatrixTriangularSolve Qr Svd "
        "SelfAdjointEigV2 FFT FFT2D FFT3D IFFT IFFT2D IFFT3D RFFT RFFT2D RFFT3D IRFFT IRFFT2D IRFFT3D "
        # Networks and images.
        "AvgPool AvgPool3D AvgPoolGrad BiasAdd BiasAddV1 BiasAddGrad Conv Conv2D Conv2DBackpropInput "
        "Conv2DBackpropFilter Conv3D Conv3DBackpropInputV2 DepthwiseConv2dNative "
        "DepthwiseConv2dNativeBackpropInput Dilation2D FusedBatchNorm FusedBatchNormV2 "
        "FusedBatchNormV3 L2Loss LRN LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax "
        "MaxPoolGrad Softmax SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits "
        "FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel "
        "QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 AdjustContrastv2 "
        "AdjustHue AdjustSaturation CropAndResize HSVToRGB RGBToHSV ResizeArea ResizeBicubic "
        "ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate ExtractImagePatches "
        "ImageProjectiveTransformV2 ImageProjectiveTransformV3 NonMaxSuppressionV3 "
        # Random numbers.
        "Multinomial RandomGamma RandomPoissonV2 RandomShuffle RandomStandardNormal RandomUniform "
        "RandomUniformInt TruncatedNormal ParameterizedTruncatedNormal StatelessMultinomial "
        "StatelessRandomBinomial StatelessRandomGetAlg StatelessRandomGetKeyCounter "
        "StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformV2 "
        "StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessTruncatedNormal "
        "StatelessTruncatedNormalV2 StatefulStandardNormalV2 StatefulUniform StatefulUniformInt "
        "StatefulTruncatedNormal RngReadAndSkip RngSkip AssignAddVariableOp AssignSubVariableOp",
    )
    for name in line.split()
)
"""Operations that compute and touch nothing outside the program."""
_RESTORING = frozenset(
    (
        "MergeV2Checkpoints",
        "RestoreV2",
        "SaveV2",
        "ShardedFilename",
        "StaticRegexFullMatch",
        "StringJoin",
    )
)
"""What every SavedModel holds to write and read its variables; loading one runs none of it."""
_LARGEST_FILE = 2**31
_MOST_TOLD = 8


def check_saved_model(path):
    """Check that nothing but computing happens when a SavedModel is loaded and run.

    Args:
        path: `pathlib.Path` of its directory.

    Raises:
        ValueError: if it holds other operations, if files that it would read lie outside its directory,
            or if it is damaged or of TensorFlow 1's kind.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    _check_files(path)
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((path / "saved_model.pb").read_bytes())
    except (DecodeError, RecursionError) as error:
        raise ValueError(
            f"The SavedModel cannot be read; expected a whole one: {error}. Received: path={str(path)!r}"
        ) from error
    if not model.meta_graphs:
        raise ValueError(
            f"The SavedModel must hold a graph, and holds none. Received: path={str(path)!r}"
        )
    for graph in model.meta_graphs:
        if not graph.HasField("object_graph_def"):
            raise ValueError(
                "The SavedModel is of TensorFlow 1's kind, whose start can run anything; a file of "
                f"TensorFlow 2 is expected, or `trust=True` (--trust). Received: path={str(path)!r}"
            )
        _check_graph(graph, path)


def _check_files(path):
    root = path.resolve()
    for file in path.rglob("*"):
        if not file.resolve().is_relative_to(root):
            raise ValueError(
                f"A file of the SavedModel is a link that leads out of its directory: {file.name!r}. "
                f"Received: path={str(path)!r}"
            )
    size = (path / "saved_model.pb").stat().st_size
    if size > _LARGEST_FILE:
        raise ValueError(
            f"The graph of the SavedModel has {size} bytes; at most {_LARGEST_FILE} can be read. "
            f"Received: path={str(path)!r}"
        )


def _check_graph(graph, path):
    functions = {f.signature.name: f.node_def for f in graph.graph_def.library.function}
    saving = _saving_functions(graph, functions)
    found = set()
    for name, nodes in [("", graph.graph_def.node), *functions.items()]:
        allowed = ALLOWED | _RESTORING if name in saving else ALLOWED
        found.update((node.op, node.name) for node in nodes if node.op not in allowed)
    if found:
        told = [f"{op} at {name!r}" for op, name in sorted(found)]
        more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        raise ValueError(
            "The SavedModel holds operations that do more than compute, or are unknown, and would run "
            f"them: {'; '.join(told[:_MOST_TOLD])}{more}. Expected: operations of networks only, or "
            f"`trust=True` (--trust) for a file of known origin. Received: path={str(path)!r}"
        )
    for asset in graph.asset_file_def:
        name = pathlib.PurePosixPath(asset.filename)
        if name.is_absolute() or ".." in name.parts:
            raise ValueError(
                f"The SavedModel names an asset outside its directory: {asset.filename!r}. "
                f"Received: path={str(path)!r}"
            )


def _saving_functions(graph, functions):
    """Return the functions that write and read variables, as far as nothing else can call them."""
    names = {graph.saver_def.save_tensor_name.split(":")[0], graph.saver_def.restore_op_name}
    calls = {
        node.name: {a.func.name for a in node.attr.values() if a.HasField("func")}
        for node in graph.graph_def.node
    }
    saving = set().union(*(called for name, called in calls.items() if name in names))
    elsewhere = set().union(*(called for name, called in calls.items() if name not in names))
    for name, nodes in functions.items():
        if name not in saving:
            for node in nodes:
                for attribute in node.attr.values():
                    elsewhere.add(attribute.func.name)
                    elsewhere.update(function.name for function in attribute.list.func)
    elsewhere.update(graph.object_graph_def.concrete_functions)
    for node in graph.object_graph_def.nodes:
        elsewhere.update(node.function.concrete_functions)
        elsewhere.add(node.bare_concrete_function.concrete_function_name)
    return saving - elsewhere

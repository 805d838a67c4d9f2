//! What the importer accepts, what it makes of it, and what it says about the rest.

use ceria_lowering::onnx::{self, Graph, Operator, Post, proto::*};
use indexmap::IndexMap;
use melior::ir::operation::{OperationLike, OperationPrintingFlags};
use ndarray::{ArrayD, arr1};
use prost::Message;

fn value(name: &str, shape: &[i64]) -> ValueInfoProto {
    let dim =
        shape.iter().map(|&extent| DimensionProto { value: Some(DimensionValue::Number(extent)) }).collect();
    let tensor = TensorTypeProto { elem_type: data_type::FLOAT, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        name: format!("the_{output}"),
        op_type: op.to_owned(),
        attribute,
        domain: String::new(),
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: attribute_type::INT, ..AttributeProto::default() }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let (dims, float_data) = (dims.to_vec(), values.to_vec());
    TensorProto { name: name.into(), dims, float_data, data_type: data_type::FLOAT, ..TensorProto::default() }
}

fn integers(name: &str, values: &[i64]) -> TensorProto {
    let (dims, int64_data) = (vec![values.len() as i64], values.to_vec());
    TensorProto { name: name.into(), dims, int64_data, data_type: data_type::INT64, ..TensorProto::default() }
}

/// A model with input `x` of this shape and output `y`.
fn model(shape: &[i64], nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    let output = ValueInfoProto { name: "y".into(), r#type: None };
    let graph = GraphProto {
        node: nodes,
        name: "test".into(),
        initializer,
        input: vec![value("x", shape)],
        output: vec![output],
        sparse_initializer: Vec::new(),
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    ModelProto { ir_version: 8, graph: Some(graph), opset_import, ..ModelProto::default() }
}

fn graph_of(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().expect("every model here has one")
}

fn read(model: &ModelProto) -> Graph {
    onnx::read(&model.encode_to_vec()).expect("it is supported")
}

/// The message for a model, which is one line.
fn refusal(model: &ModelProto) -> String {
    let message = onnx::read(&model.encode_to_vec()).expect_err("it is refused").to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn run(graph: &Graph, x: ArrayD<f64>) -> ArrayD<f64> {
    let inputs = IndexMap::from([("x".to_owned(), x)]);
    onnx::evaluate(graph, &inputs).expect("the input fits")["y"].clone()
}

#[test]
fn unknown_operators_are_named_with_their_node() {
    let message = refusal(&model(&[2], vec![node("LSTM", &["x"], "y", vec![])], vec![]));
    assert_eq!(message, "unsupported operator LSTM (node the_y)");
    let mut custom = model(&[2], vec![node("Relu", &["x"], "y", vec![])], vec![]);
    graph_of(&mut custom).node[0].domain = "com.example".into();
    graph_of(&mut custom).node[0].name = String::new();
    assert_eq!(refusal(&custom), "unsupported operator com.example.Relu (node #0, output y)");
}

#[test]
fn uses_that_are_not_supported_say_why() {
    let divide = model(&[2], vec![node("Div", &["x", "x"], "y", vec![])], vec![]);
    assert_eq!(refusal(&divide), "unsupported operator Div (node the_y): its divisor is not constant");
    let root = model(&[2], vec![node("Pow", &["x", "e"], "y", vec![])], vec![floats("e", &[], &[0.5])]);
    assert!(refusal(&root).contains("the exponent is 0.5"));
    let zero = model(&[2], vec![node("Div", &["x", "d"], "y", vec![])], vec![floats("d", &[2], &[1.0, 0.0])]);
    assert!(refusal(&zero).contains("divides by zero"));
    let text = AttributeProto {
        name: "mode".into(),
        s: b"edge".to_vec(),
        r#type: attribute_type::STRING,
        ..AttributeProto::default()
    };
    let pad = model(&[2], vec![node("Pad", &["x", "p"], "y", vec![text])], vec![integers("p", &[1, 1])]);
    assert_eq!(refusal(&pad), "unsupported operator Pad (node the_y): its mode is `edge`");
    let cast = model(&[2], vec![node("Cast", &["x"], "y", vec![int("to", 7)])], vec![]);
    assert!(refusal(&cast).contains("cast of an encrypted value to int64"));
}

#[test]
fn contradictions_are_named() {
    let undefined = model(&[2], vec![node("Add", &["x", "z"], "y", vec![])], vec![]);
    assert!(refusal(&undefined).contains("operand `z` is not defined"));
    let shapes = model(&[2], vec![node("Add", &["x", "c"], "y", vec![])], vec![floats("c", &[3], &[1.0; 3])]);
    assert!(refusal(&shapes).contains("[2] and [3] do not broadcast"));
    let twice = vec![node("Relu", &["x"], "y", vec![]), node("Neg", &["x"], "y", vec![])];
    assert!(refusal(&model(&[2], twice, vec![])).contains("`y` is defined twice"));
    let wrong = model(&[2], vec![node("Flatten", &["x"], "y", vec![floats_attribute("axis")])], vec![]);
    assert!(refusal(&wrong).contains("attribute `axis` has the wrong type"));
    let infinite = floats("c", &[2], &[1.0, f32::INFINITY]);
    let infinite = model(&[2], vec![node("Add", &["x", "c"], "y", vec![])], vec![infinite]);
    assert!(refusal(&infinite).contains("constant `c` has elements that are not finite"));
    let mut declared = model(&[2], vec![node("Relu", &["x"], "y", vec![])], vec![]);
    graph_of(&mut declared).output[0] = value("y", &[3]);
    assert!(refusal(&declared).contains("output `y` has shape [2], not the one that is declared"));
}

fn floats_attribute(name: &str) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: attribute_type::FLOATS, ..AttributeProto::default() }
}

#[test]
fn files_that_are_not_self_contained_are_refused() {
    let mut external = floats("c", &[2], &[]);
    external.data_location = 1;
    let model = model(&[2], vec![node("Add", &["x", "c"], "y", vec![])], vec![external]);
    assert!(refusal(&model).contains("initialiser `c`: its data is in another file"));
}

#[test]
fn a_symbolic_batch_is_one_sample_and_other_symbols_are_refused() {
    let named = |name: &str| DimensionProto { value: Some(DimensionValue::Name(name.into())) };
    let mut symbolic = model(&[1, 3], vec![node("Relu", &["x"], "y", vec![])], vec![]);
    let shape = |model: &mut ModelProto| -> Vec<DimensionProto> {
        let tensor = graph_of(model).input[0].r#type.clone().and_then(|r#type| r#type.tensor_type);
        tensor.and_then(|tensor| tensor.shape).expect("it has a shape").dim
    };
    let mut dim = shape(&mut symbolic);
    dim[0] = named("batch");
    let replace = |model: &mut ModelProto, dim: Vec<DimensionProto>| {
        let tensor = TensorTypeProto { elem_type: data_type::FLOAT, shape: Some(TensorShapeProto { dim }) };
        graph_of(model).input[0].r#type = Some(TypeProto { tensor_type: Some(tensor) });
    };
    replace(&mut symbolic, dim.clone());
    let graph = read(&symbolic);
    assert_eq!(graph.value(graph.inputs[0]).shape, [1, 3]);
    dim[1] = named("width");
    replace(&mut symbolic, dim);
    assert!(refusal(&symbolic).contains("axis 1 has the symbolic extent `width`"));
}

#[test]
fn what_the_client_computes_moves_to_the_outputs() {
    let softmax = || node("Softmax", &["h"], "s", vec![int("axis", -1)]);
    let relu = || node("Relu", &["x"], "h", vec![]);
    let arg_max = node("ArgMax", &["s"], "y", vec![int("axis", 1), int("keepdims", 0)]);
    let graph = read(&model(&[1, 3], vec![relu(), softmax(), arg_max], vec![]));
    assert_eq!(graph.nodes.len(), 1);
    let post = Post::ArgMax { axis: 1, keep_dims: false, last: false };
    assert_eq!(graph.outputs[0].post, Some((post, vec![1])));
    let x = arr1(&[-5.0, 2.0, 1.0]).into_dyn().into_shape_with_order(vec![1, 3]).expect("three elements");
    assert_eq!(run(&graph, x), arr1(&[1.0]).into_dyn());

    let after = model(&[1, 3], vec![relu(), softmax(), node("Neg", &["s"], "y", vec![])], vec![]);
    assert_eq!(
        refusal(&after),
        "unsupported operator Softmax (node the_s): it is only supported at the end of a network"
    );
}

#[test]
fn shape_arithmetic_is_folded() {
    // Reshape to (shape[0], -1), computed as exporters write it.
    let nodes = vec![
        node("Shape", &["x"], "shape", vec![]),
        node("Gather", &["shape", "zero"], "first", vec![int("axis", 0)]),
        node("Concat", &["first", "rest"], "target", vec![int("axis", 0)]),
        node("Reshape", &["x", "target"], "r", vec![]),
        node("Add", &["half", "half"], "one", vec![]),
        node("Mul", &["r", "one"], "y", vec![]),
    ];
    let constants = vec![integers("zero", &[0]), integers("rest", &[-1]), floats("half", &[], &[0.5])];
    let graph = read(&model(&[2, 3, 4], nodes, constants));
    assert_eq!(graph.nodes.iter().map(|node| node.op_type.as_str()).collect::<Vec<_>>(), ["Reshape", "Mul"]);
    assert_eq!(graph.outputs[0].shape(&graph), [2, 12]);
}

#[test]
fn nodes_that_no_output_needs_are_dropped() {
    let nodes = vec![node("LSTM", &["x"], "unused", vec![]), node("Relu", &["x"], "y", vec![])];
    let graph = read(&model(&[2], nodes, vec![]));
    assert_eq!(graph.nodes.len(), 1);
    assert_eq!(graph.nodes[0].operator, Operator::Relu);
}

#[test]
fn huge_claims_cost_no_memory() {
    let target = integers("target", &[1 << 40, 1 << 40]);
    let expand = model(&[1, 1], vec![node("Expand", &["x", "target"], "y", vec![])], vec![target]);
    assert!(refusal(&expand).contains("too many elements"));
    let extents = integers("extents", &[1 << 20, 1 << 20]);
    let filled =
        vec![node("ConstantOfShape", &["extents"], "c", vec![]), node("Add", &["x", "c"], "y", vec![])];
    assert!(refusal(&model(&[1, 1], filled, vec![extents])).contains("ConstantOfShape"));
}

#[test]
fn damaged_models_never_panic() {
    let nodes = vec![
        node("Reshape", &["x", "target"], "r", vec![]),
        node("Conv", &["r", "kernel"], "c", vec![int("group", 1)]),
        node("Slice", &["c", "low", "high", "low", "step"], "s", vec![]),
        node("ReduceMean", &["s"], "m", vec![int("keepdims", 0)]),
        node("Softmax", &["s"], "y", vec![int("axis", 1)]),
    ];
    let constants = vec![
        integers("target", &[1, 1, 4, -1]),
        integers("low", &[0]),
        integers("high", &[9]),
        integers("step", &[1]),
        floats("kernel", &[2, 1, 2, 2], &[0.5; 8]),
    ];
    let bytes = model(&[16], nodes, constants).encode_to_vec();
    onnx::read(&bytes).expect("it is supported");
    for length in 0..bytes.len() {
        let _ = onnx::read(&bytes[..length]);
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let _ = onnx::read(&damaged);
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/cnn/model.onnx");
    let bytes = std::fs::read(path).expect("the model");
    for length in (0..bytes.len()).step_by(997) {
        assert!(onnx::read(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn inputs_are_checked() {
    let graph = read(&model(&[2], vec![node("Relu", &["x"], "y", vec![])], vec![]));
    let message = |name: &str, values: &[f64]| {
        let inputs = IndexMap::from([(name.to_owned(), arr1(values).into_dyn())]);
        onnx::evaluate(&graph, &inputs).expect_err("it is refused").to_string()
    };
    assert_eq!(message("x", &[1.0]), "input `x`: its shape is [1], the model takes [2]");
    assert_eq!(message("x", &[1.0, f64::NAN]), "input `x`: it has elements that are not finite");
    assert_eq!(message("z", &[1.0, 2.0]), "input `z`: the model has no such input");
}

#[test]
fn modules_carry_names_weights_and_post_processing() {
    let nodes = vec![
        node("Add", &["x", "c"], "sum", vec![]),
        node("Div", &["sum", "c"], "quotient", vec![]),
        node("Mul", &["quotient", "two"], "double", vec![]),
        node("LogSoftmax", &["double"], "y", vec![int("axis", -1)]),
    ];
    let constants = vec![floats("c", &[2], &[4.0, 8.0]), floats("two", &[], &[2.0])];
    let graph = read(&model(&[1, 2], nodes, constants));
    let directory = tempfile::tempdir().expect("a folder");
    let context = ceria_dialects::context();
    let module = onnx::to_module(&graph, &context, directory.path()).expect("a module");
    let flags = OperationPrintingFlags::new().enable_debug_info(true, false).use_local_scope();
    let text = module.as_operation().to_string_with_flags(flags).expect("text");
    for part in [
        "fhe.weights @c : tensor<2xf32> from \"weights.safetensors\"[\"c\"]",
        "fhe.weights @c.reciprocal : tensor<2xf32>",
        "!fhe.tensor<1x2> {fhe.name = \"x\"}",
        "fhe.name = \"y\", fhe.post = \"log_softmax\", fhe.post_axis = 1 : i64",
        "fhe.scale",
        "tensor<2xf32> loc(\"the_quotient\")",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let file = std::fs::read(directory.path().join(onnx::WEIGHTS_FILE)).expect("the weights");
    let tensors = safetensors::SafeTensors::deserialize(&file).expect("safetensors");
    let reciprocal: Vec<u8> = [0.25f32, 0.125].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(tensors.tensor("c.reciprocal").expect("it is there").data(), reciprocal);
}

//! Names: of parameters as PyTorch has them, of modules, of blocks.

/// What torch's exporters call values that they make themselves, before a number.
const MADE: &[&str] = &[
    "val",
    "arange",
    "abs",
    "add",
    "alias",
    "bitwise_and",
    "cat",
    "clone",
    "constant",
    "copy",
    "cos",
    "cumsum",
    "detach",
    "div",
    "empty",
    "eq",
    "exp",
    "expand",
    "fill",
    "full",
    "full_like",
    "gather",
    "ge",
    "getitem",
    "gt",
    "index",
    "index_put",
    "index_select",
    "le",
    "lift_fresh_copy",
    "lifted_tensor",
    "log",
    "logical_and",
    "logical_not",
    "lt",
    "masked_fill",
    "maximum",
    "mul",
    "ne",
    "neg",
    "new_empty",
    "new_full",
    "new_ones",
    "new_zeros",
    "ones",
    "ones_like",
    "outer",
    "permute",
    "pow",
    "reciprocal",
    "repeat",
    "reshape",
    "rsqrt",
    "rsub",
    "scalar_tensor",
    "scalar_tensor_default",
    "select",
    "sigmoid",
    "sin",
    "slice",
    "softmax",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "sub",
    "sum",
    "tensor_constant",
    "to_copy",
    "transpose",
    "tril",
    "triu",
    "unbind",
    "unsafe_view",
    "unsqueeze",
    "view",
    "where",
    "zeros",
    "zeros_like",
    "mm",
    "bmm",
    "matmul",
    "const",
    "node",
    "output",
    "anonymous",
    "addmm",
    "amax",
    "argmax",
    "batch_norm",
    "bitwise_not",
    "bitwise_or",
    "clamp",
    "contiguous",
    "conv1d",
    "conv2d",
    "conv3d",
    "convert_element_type",
    "convert_element_type_default",
    "diff",
    "dropout",
    "embedding",
    "erf",
    "flatten",
    "floor",
    "gelu",
    "group_norm",
    "isin",
    "layer_norm",
    "linear",
    "linspace",
    "log_softmax",
    "max",
    "mean",
    "meshgrid",
    "min",
    "minimum",
    "native_layer_norm",
    "one_hot",
    "pad",
    "prod",
    "relu",
    "remainder",
    "roll",
    "round",
    "scatter",
    "silu",
    "sign",
    "sym_size_int",
    "tanh",
    "to",
    "topk",
    "type_as",
    "unfold",
    "var",
    "zero",
];

/// Whether an initializer's name is one that a parameter has in PyTorch, not one that an exporter made up.
pub(super) fn is_param_name(name: &str) -> bool {
    if name.is_empty()
        || name.starts_with('/')
        || name.contains("::")
        || name.contains('/')
        || name.ends_with("inv_freq")
        || name.ends_with("_cast")
    {
        return false;
    }
    let bare = name.trim_start_matches('_');
    let base = bare.trim_end_matches(|c: char| c.is_ascii_digit());
    let base = if base.len() < bare.len() { base.strip_suffix('_').unwrap_or(base) } else { base };
    !MADE.contains(&base)
        && !base.is_empty()
        && base.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Path of the module that a node stands in: from the list that the newer exporter notes, or from the node's name as
/// the older one makes it, `/layer1/layer1.0/conv1/Conv`.
pub(super) fn scope_of(name: &str, scopes: Option<&str>) -> String {
    if let Some(scopes) = scopes {
        // A list of texts as Python writes it; the last one is the operation.
        let mut texts: Vec<&str> = scopes.split('\'').skip(1).step_by(2).collect();
        texts.pop();
        return texts.last().copied().unwrap_or("").to_owned();
    }
    let Some(path) = name.strip_prefix('/') else { return String::new() };
    let mut modules: Vec<&str> = Vec::new();
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in parts {
        // A child of a list or a sequence bears its parent's name too.
        if let Some(parent) = modules.last()
            && part.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))
        {
            modules.pop();
        }
        modules.push(part);
    }
    modules.join(".")
}

/// The block that a module or parameter stands in: the path up to the first numbers in it (`layer1.0`, `h.3`), if
/// something of a name follows.
pub(super) fn block_of(path: &str) -> Option<&str> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut end = 0;
    let mut block = None;
    for part in path.split('.') {
        let part_end = end + part.len();
        if is_number(part) {
            block = Some(part_end);
        } else if block.is_some() || is_counted(part) {
            if block.is_none() {
                block = Some(part_end);
                end = part_end + 1;
                continue;
            }
            break;
        }
        end = part_end + 1;
    }
    block.filter(|&at| at < path.len()).map(|at| &path[..at])
}

/// Whether a name counts blocks by itself, as torchvision's do: `encoder_layer_3`, `denselayer12`, `inception4a`.
fn is_counted(part: &str) -> bool {
    let number = part.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let number = if part.len() - number.len() <= 1 { number } else { part };
    let base = number.trim_end_matches(|c: char| c.is_ascii_digit());
    base.len() < number.len() && ["layer_", "denselayer", "inception"].iter().any(|end| base.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parameters_are_told_from_made_ones() {
        for name in [
            "conv1.weight",
            "class_token",
            "layers.0.bias",
            "h.0.attn.c_attn.weight",
            "weight_ih_l0",
            "features.0.weight",
        ] {
            assert!(is_param_name(name), "{name}");
        }
        for name in [
            "val_95",
            "onnx::MatMul_12",
            "/bert/Constant_output_0",
            "zeros",
            "new_ones",
            "unsqueeze_14",
            "_tensor_constant0",
            "model.rotary_emb.inv_freq",
        ] {
            assert!(!is_param_name(name), "{name}");
        }
    }

    #[test]
    fn scopes_are_module_paths() {
        assert_eq!(scope_of("/layer1/layer1.0/conv1/Conv", None), "layer1.0.conv1");
        assert_eq!(
            scope_of("/features/features.1/features.1.0/block/block.0/block.0.0/Conv", None),
            "features.1.0.block.0.0"
        );
        assert_eq!(scope_of("/bert/encoder/layer.0/query/MatMul", None), "bert.encoder.layer.0.query");
        assert_eq!(scope_of("Constant_12", None), "");
        assert_eq!(
            scope_of("node_1", Some("['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_1']")),
            "layer1.0.conv1"
        );
    }

    #[test]
    fn blocks_are_numbered_modules() {
        assert_eq!(block_of("layer1.0.conv1"), Some("layer1.0"));
        assert_eq!(block_of("transformer.h.11.attn.c_attn"), Some("transformer.h.11"));
        assert_eq!(block_of("features.1.0.block.0.0"), Some("features.1.0"));
        assert_eq!(block_of("encoder.layers.encoder_layer_3.ln_1"), Some("encoder.layers.encoder_layer_3"));
        assert_eq!(
            block_of("features.denseblock1.denselayer2.conv1"),
            Some("features.denseblock1.denselayer2")
        );
        assert_eq!(block_of("inception4a.branch2.0.conv"), Some("inception4a"));
        assert_eq!(block_of("features.0"), None);
        assert_eq!(block_of("fc"), None);
    }
}

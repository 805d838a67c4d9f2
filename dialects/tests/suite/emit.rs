//! Object code: compiled, linked, called, and refused.

use ceria_dialects::bridge::diagnostic::Diagnostic;
use ceria_dialects::bridge::emit::*;
use ceria_dialects::bridge::rewrite::{RewriteOptions, find_ops, rewrite_greedily};
use melior::ir::Module;
use melior::ir::operation::{OperationBuilder, OperationLike};

const SUM: &str = r#"
    func.func @sum(%n: index, %p: memref<?xi32>) -> i32 attributes {llvm.emit_c_interface} {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %zero = arith.constant 0 : i32
      %s = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %zero) -> i32 {
        %v = memref.load %p[%i] : memref<?xi32>
        %next = arith.addi %acc, %v : i32
        scf.yield %next : i32
      }
      return %s : i32
    }
"#;

#[test]
fn object_for_each_cpu() {
    let context = super::upstream();
    let module = Module::parse(&context, SUM).unwrap();
    lower_to_llvm(module.as_operation()).unwrap();
    let object = emit(module.as_operation(), &Target::host(), Form::Object).unwrap();
    assert_eq!(&object[..4], b"\x7fELF");
    let text = |target: &Target| {
        String::from_utf8(emit(module.as_operation(), target, Form::Assembly).unwrap()).unwrap()
    };
    if cfg!(target_arch = "x86_64") {
        let (v2, v3) = (text(&Target::x86_64_v2()), text(&Target::x86_64_v3()));
        assert!(v2.contains("%xmm") && !v2.contains("%ymm"), "{v2}");
        assert!(v3.contains("vpaddd") && v3.contains("%ymm"), "{v3}");
        let without = text(&Target { features: "-avx2".into(), ..Target::x86_64_v3() });
        assert!(!without.contains("vpaddd\t%ymm"), "{without}");
    }
    let ir = String::from_utf8(emit(module.as_operation(), &Target::host(), Form::LlvmIr).unwrap()).unwrap();
    assert!(ir.contains("define i32 @sum") && ir.contains("target triple"), "{ir}");
}

#[test]
fn untranslatable_ops_are_reported() {
    let context = super::upstream();
    let messages = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = messages.clone();
    context.attach_diagnostic_handler(move |diagnostic| {
        seen.lock().unwrap().push(Diagnostic::copy(&diagnostic).to_string());
        true
    });
    let module = Module::parse(&context, SUM).unwrap();
    let error = emit(module.as_operation(), &Target::host(), Form::Object).unwrap_err();
    assert!(matches!(error, EmitError::Translate));
    let messages = messages.lock().unwrap();
    assert!(messages.iter().any(|message| message.contains("func.func")), "{messages:?}");
}

#[test]
fn unknown_targets_are_refused() {
    let context = super::upstream();
    let module = Module::parse(&context, "llvm.func @f() { llvm.return }").unwrap();
    let target = Target { triple: "no-such-machine".into(), ..Target::host() };
    let error = emit(module.as_operation(), &target, Form::Object).unwrap_err().to_string();
    assert!(error.starts_with("LLVM: "), "{error}");
}

#[test]
fn patterns_are_applied_greedily() {
    let context = super::upstream();
    let source = r#"
        func.func @f(%a: i32) -> i32 {
          %0 = arith.subi %a, %a : i32
          %1 = arith.muli %0, %a : i32
          return %1 : i32
        }
    "#;
    let module = Module::parse(&context, source).unwrap();
    let options = RewriteOptions { fold: false, ..RewriteOptions::default() };
    rewrite_greedily(module.as_operation(), options, |set| {
        set.add("arith.muli", 1, |op, rewriter| {
            let (Ok(left), Ok(right)) = (op.operand(0), op.operand(1)) else { return false };
            rewriter.set_insertion_point_before(op);
            let sum = OperationBuilder::new("arith.addi", op.location())
                .add_operands(&[left, right])
                .enable_result_type_inference()
                .build();
            let Ok(sum) = sum else { return false };
            rewriter.replace_op_with_operation(op, rewriter.insert(sum));
            true
        });
    })
    .unwrap();
    let module = module.as_operation();
    assert_eq!(find_ops(&module, &["arith.addi"]).len(), 1);
    assert_eq!(find_ops(&module, &["arith.muli"]).len(), 0);
    assert_eq!(find_ops(&module, &["arith.subi"]).len(), 1, "without folding nothing else changes");
    assert_eq!(find_ops(&module, &[]).len(), 5);
}

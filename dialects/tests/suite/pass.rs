//! Passes made from Rust descriptors: options, registration, failures, pipelines.

use std::sync::Mutex;

use ceria_dialects::bridge::diagnostic::{Severity, emit_remark};
use ceria_dialects::bridge::pass::*;
use ceria_dialects::bridge::rewrite::find_ops;
use melior::Context;
use melior::ir::operation::{OperationLike, OperationMutLike};
use melior::ir::{Attribute, Module, OperationRef};
use melior::utility::register_all_passes;

/// Marks every op of a name, and says what its options were.
static MARK: PassDescriptor = PassDescriptor {
    argument: "test-mark",
    summary: "Mark ops",
    options: &[
        PassOption::text("op", "arith.addi", "name of the ops"),
        PassOption::int("times", 2, "a number"),
        PassOption::bool("loud", false, "a flag"),
        PassOption::float("scale", 0.5, "a number"),
        PassOption::ints("steps", &[1, 2], "numbers"),
        PassOption::floats("points", &[], "numbers"),
        PassOption::texts("names", &["a"], "texts"),
    ],
    create: || Box::new(mark),
    ..PassDescriptor::FUNCTION
};

fn mark(op: OperationRef, options: &OptionValues) -> Result<(), PassError> {
    let context = op.context();
    // SAFETY: the context outlives the op.
    let unit = Attribute::unit(unsafe { context.to_ref() });
    for found in find_ops(&op, &[options.text("op")]) {
        emit_remark(
            found.location(),
            &format!(
                "{} {} {} {:?} {:?} {:?}",
                options.int("times"),
                options.bool("loud"),
                options.float("scale"),
                options.ints("steps"),
                options.floats("points"),
                options.texts("names"),
            ),
        );
        // SAFETY: the pass may change what is inside its function.
        let mut found = unsafe { melior::ir::operation::OperationRefMut::from_raw(found.to_raw()) };
        found.set_attribute("marked", unit);
    }
    Ok(())
}

/// Fails or panics, as its option says.
static FAIL: PassDescriptor = PassDescriptor {
    argument: "test-fail",
    summary: "Fail",
    dependent_dialects: &["arith", "vector"],
    options: &[PassOption::bool("panic", false, "panic instead")],
    create: || {
        Box::new(|op: OperationRef, options: &OptionValues| {
            assert!(!options.bool("panic"), "as asked");
            let add = find_ops(&op, &["arith.addi"])[0];
            Err(PassError::op(&add, "is not wanted").note(op.location(), "in this module"))
        })
    },
    ..PassDescriptor::MODULE
};

/// Counts its instances and initialisations.
struct Counted(u32);
static COUNTS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

impl Pass for Counted {
    fn initialize(&mut self, _: melior::ContextRef, options: &OptionValues) -> Result<(), PassError> {
        self.0 = 100 + u32::try_from(options.int("start")).map_err(|_| PassError::new("negative start"))?;
        Ok(())
    }

    fn run(&self, op: OperationRef, _: &OptionValues) -> Result<(), PassError> {
        assert_eq!(op.name().as_string_ref().as_str(), Ok("func.func"));
        COUNTS.lock().unwrap().push(self.0);
        Ok(())
    }

    fn clone_pass(&self) -> Option<Box<dyn Pass>> {
        Some(Box::new(Counted(self.0)))
    }
}

static COUNT: PassDescriptor = PassDescriptor {
    argument: "test-count",
    summary: "Count runs",
    options: &[PassOption::int("start", 0, "added")],
    can_schedule_on: Some(|name| name == "func.func"),
    create: || Box::new(Counted(0)),
    ..PassDescriptor::ANY
};

static PIPELINE: PipelineDescriptor = PipelineDescriptor {
    argument: "test-pipeline",
    summary: "Mark and clean up",
    options: &[PassOption::text("op", "arith.muli", "name of the ops")],
    text: |options| match options.text("op") {
        "" => Err(PassError::new("no op given")),
        op => Ok(format!("func.func(test-mark{{op={op} times=7 steps=}}),canonicalize")),
    },
};

const SOURCE: &str = r#"
    func.func @f(%a: i32) -> i32 {
      %0 = arith.addi %a, %a : i32
      %1 = arith.muli %0, %a : i32
      return %1 : i32
    }
    func.func @g(%a: i32) -> i32 {
      return %a : i32
    }
"#;

fn context() -> Context {
    register_all_passes();
    register_passes(&[&MARK, &FAIL, &COUNT]).unwrap();
    register_pipelines(&[&PIPELINE]).unwrap();
    super::upstream()
}

fn run(pipeline: &str) -> Result<(String, Vec<String>), PipelineError> {
    let context = context();
    let module = Module::parse(&context, SOURCE).unwrap();
    let diagnostics = run_pipeline(&module.as_operation(), pipeline)?;
    assert!(module.as_operation().verify());
    Ok((module.as_operation().to_string(), diagnostics.iter().map(|d| d.message.clone()).collect()))
}

#[test]
fn options_have_defaults() {
    let (text, remarks) = run("func.func(test-mark)").unwrap();
    assert!(text.contains("arith.addi %arg0, %arg0 {marked}"), "{text}");
    assert_eq!(remarks, [r#"2 false 0.5 [1, 2] [] ["a"]"#]);
}

#[test]
fn options_are_parsed() {
    let pipeline = "builtin.module(func.func(test-mark{op=arith.muli times=-3 loud=true scale=1e-3 \
                    steps=4,5,6 points=0.25,8 names=x,y-z}))";
    let (text, remarks) = run(pipeline).unwrap();
    assert!(text.contains("arith.muli %0, %arg0 {marked}"), "{text}");
    assert_eq!(remarks, [r#"-3 true 0.001 [4, 5, 6] [0.25, 8.0] ["x", "y-z"]"#]);
}

#[test]
fn pipelines_take_options() {
    let (text, remarks) = run("test-pipeline{op=arith.addi}").unwrap();
    assert!(text.contains("arith.addi %arg0, %arg0 {marked}"), "{text}");
    assert_eq!(remarks, [r#"7 false 0.5 [] [] ["a"]"#]);
    let error = run("test-pipeline{op=}").unwrap_err().to_string();
    assert!(error.contains("no op given"), "{error}");
}

#[test]
fn unknown_names_are_parse_errors() {
    for (pipeline, part) in [
        ("no-such-pass", "no-such-pass"),
        ("func.func(test-mark{no-such-option=1})", "no-such-option"),
        ("func.func(test-mark{times=many})", "many"),
        ("test-mark", "restricted to 'func.func'"),
    ] {
        let error = run(pipeline).unwrap_err();
        assert!(matches!(error, PipelineError::Parse(_)), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn failures_point_at_the_op() {
    let Err(PipelineError::Failed(diagnostics)) = run("test-fail") else { panic!() };
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(diagnostics[0].severity, Severity::Error);
    assert_eq!(diagnostics[0].message, "'arith.addi' op is not wanted");
    assert!(diagnostics[0].location.ends_with(":3:12"), "{}", diagnostics[0].location);
    assert_eq!(diagnostics[0].notes[0].message, "in this module");
}

#[test]
fn panics_become_errors() {
    let error = run("test-fail{panic=true}").unwrap_err().to_string();
    assert!(error.contains("panicked: as asked"), "{error}");
}

#[test]
fn instances_are_initialised_and_cloned() {
    run("func.func(test-count{start=5})").unwrap();
    assert_eq!(*COUNTS.lock().unwrap(), [105, 105]);
    let error = run("func.func(test-count{start=-1})").unwrap_err().to_string();
    assert!(error.contains("negative start"), "{error}");
    // On the module it is not scheduled.
    let error = run("test-count").unwrap_err().to_string();
    assert!(error.contains("test-count"), "{error}");
}

#[test]
fn registration_is_checked() {
    context();
    static TWIN: PassDescriptor = PassDescriptor { argument: "test-mark", ..PassDescriptor::MODULE };
    static LOST: PassDescriptor = PassDescriptor {
        argument: "test-lost",
        dependent_dialects: &["no-such-dialect"],
        ..PassDescriptor::MODULE
    };
    let error = register_passes(&[&TWIN]).unwrap_err().to_string();
    assert_eq!(error, "`test-mark` is registered twice");
    let error = register_passes(&[&LOST]).unwrap_err().to_string();
    assert_eq!(error, "pass `test-lost` depends on an unknown dialect `no-such-dialect`");
}

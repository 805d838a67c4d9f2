//! Options of passes and pipelines: what a descriptor says of them, and the values of a run.

use std::collections::BTreeMap;
use std::ffi::c_void;

use melior::StringRef;
use mlir_sys::MlirStringRef;

/// An option of a pass or pipeline: name, type with default, and documentation.
pub struct PassOption {
    /// The name, kebab-case.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Type and default.
    pub default: OptionDefault,
}

/// The default of an option, which fixes its type.
#[derive(Clone, Copy, Debug)]
pub enum OptionDefault {
    /// A flag.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(&'static str),
    /// Integers separated by commas.
    Ints(&'static [i64]),
    /// Numbers separated by commas.
    Floats(&'static [f64]),
    /// Texts separated by commas.
    Texts(&'static [&'static str]),
}

impl PassOption {
    /// A flag.
    pub const fn bool(name: &'static str, default: bool, doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Bool(default) }
    }

    /// An integer.
    pub const fn int(name: &'static str, default: i64, doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Int(default) }
    }

    /// A number.
    pub const fn float(name: &'static str, default: f64, doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Float(default) }
    }

    /// Text.
    pub const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Text(default) }
    }

    /// A list of integers.
    pub const fn ints(name: &'static str, default: &'static [i64], doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Ints(default) }
    }

    /// A list of numbers.
    pub const fn floats(name: &'static str, default: &'static [f64], doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Floats(default) }
    }

    /// A list of texts.
    pub const fn texts(name: &'static str, default: &'static [&'static str], doc: &'static str) -> Self {
        Self { name, doc, default: OptionDefault::Texts(default) }
    }
}

/// A value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// A flag.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

impl From<&OptionDefault> for OptionValue {
    fn from(default: &OptionDefault) -> Self {
        match *default {
            OptionDefault::Bool(value) => Self::Bool(value),
            OptionDefault::Int(value) => Self::Int(value),
            OptionDefault::Float(value) => Self::Float(value),
            OptionDefault::Text(value) => Self::Text(value.into()),
            OptionDefault::Ints(values) => Self::Ints(values.into()),
            OptionDefault::Floats(values) => Self::Floats(values.into()),
            OptionDefault::Texts(values) => Self::Texts(values.iter().map(|&text| text.into()).collect()),
        }
    }
}

/// The values of a pass's options by name. A getter asked for a name or type that the descriptor does not have gives
/// the type's zero, and a debug build panics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptionValues {
    values: BTreeMap<&'static str, OptionValue>,
}

macro_rules! getter {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $result:ty, $value:ident => $convert:expr) => {
        $(#[$doc])*
        pub fn $name(&self, name: &str) -> $result {
            match self.values.get(name) {
                Some(OptionValue::$variant($value)) => $convert,
                _ => {
                    debug_assert!(false, "no option `{name}` of kind {}", stringify!($variant));
                    Default::default()
                }
            }
        }
    };
}

impl OptionValues {
    /// The defaults of a list of options, for calling a pass's function directly.
    pub fn defaults(options: &[PassOption]) -> Self {
        Self { values: options.iter().map(|option| (option.name, (&option.default).into())).collect() }
    }

    /// The same values with one replaced.
    pub fn with(mut self, name: &'static str, value: OptionValue) -> Self {
        self.values.insert(name, value);
        self
    }

    getter!(
        /// The value of a flag.
        bool, Bool, bool, value => *value
    );
    getter!(
        /// The value of an integer option.
        int, Int, i64, value => *value
    );
    getter!(
        /// The value of a number.
        float, Float, f64, value => *value
    );
    getter!(
        /// The value of a text.
        text, Text, &str, value => value
    );
    getter!(
        /// The values of a list of integers.
        ints, Ints, &[i64], values => values
    );
    getter!(
        /// The values of a list of numbers.
        floats, Floats, &[f64], values => values
    );
    getter!(
        /// The values of a list of texts.
        texts, Texts, &[String], values => values
    );

    /// Reads all options of a running pass.
    ///
    /// # Safety
    ///
    /// `raw` is the option set that C++ made from `options`.
    pub(super) unsafe fn read(raw: *const c_void, options: &'static [PassOption]) -> Self {
        let read = |(index, option): (usize, &'static PassOption)| {
            let mut value = match OptionValue::from(&option.default) {
                OptionValue::Ints(_) => OptionValue::Ints(Vec::new()),
                OptionValue::Floats(_) => OptionValue::Floats(Vec::new()),
                OptionValue::Texts(_) => OptionValue::Texts(Vec::new()),
                scalar => scalar,
            };
            // SAFETY: promised by the caller; `push_option` gets the value it expects.
            unsafe { ceria_option_read(raw, index, (&raw mut value).cast(), push_option) };
            (option.name, value)
        };
        Self { values: options.iter().enumerate().map(read).collect() }
    }
}

/// `CeriaOption` of pass.cpp.
#[repr(C)]
pub(super) struct RawOption {
    name: MlirStringRef,
    doc: MlirStringRef,
    kind: u32,
    count: usize,
    bools: *const bool,
    ints: *const i64,
    floats: *const f64,
    strings: *const MlirStringRef,
}

type PushOption = unsafe extern "C" fn(*mut c_void, bool, i64, f64, MlirStringRef);

unsafe extern "C" {
    fn ceria_option_read(options: *const c_void, index: usize, out: *mut c_void, push: PushOption);
}

/// Text that lives as long as the process.
pub(super) fn text(text: &'static str) -> MlirStringRef {
    StringRef::new(text).to_raw()
}

/// The options in the form of C++; they live as long as the process, as registered passes do.
pub(super) fn raw_options(options: &'static [PassOption]) -> *const RawOption {
    let raw = |option: &'static PassOption| {
        let mut raw = RawOption {
            name: text(option.name),
            doc: text(option.doc),
            kind: 0,
            count: 1,
            bools: std::ptr::null(),
            ints: std::ptr::null(),
            floats: std::ptr::null(),
            strings: std::ptr::null(),
        };
        match &option.default {
            OptionDefault::Bool(value) => raw.bools = value,
            OptionDefault::Int(value) => (raw.kind, raw.ints) = (1, value),
            OptionDefault::Float(value) => (raw.kind, raw.floats) = (2, value),
            OptionDefault::Text(value) => {
                (raw.kind, raw.strings) = (3, Vec::leak(vec![text(value)]).as_ptr());
            }
            OptionDefault::Ints(values) => {
                (raw.kind, raw.count, raw.ints) = (4, values.len(), values.as_ptr())
            }
            OptionDefault::Floats(values) => {
                (raw.kind, raw.count, raw.floats) = (5, values.len(), values.as_ptr());
            }
            OptionDefault::Texts(values) => {
                let texts: Vec<_> = values.iter().map(|value| text(value)).collect();
                (raw.kind, raw.count, raw.strings) = (6, values.len(), Vec::leak(texts).as_ptr());
            }
        }
        raw
    };
    Vec::leak(options.iter().map(raw).collect::<Vec<_>>()).as_ptr()
}

unsafe extern "C" fn push_option(out: *mut c_void, flag: bool, int: i64, float: f64, string: MlirStringRef) {
    // SAFETY: `out` is the value that `OptionValues::read` passed; the text is valid during the call.
    let (value, bytes) = unsafe {
        let bytes: &[u8] = if string.length == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(string.data.cast(), string.length)
        };
        (&mut *out.cast::<OptionValue>(), bytes)
    };
    let string = || String::from_utf8_lossy(bytes).into_owned();
    match value {
        OptionValue::Bool(value) => *value = flag,
        OptionValue::Int(value) => *value = int,
        OptionValue::Float(value) => *value = float,
        OptionValue::Text(value) => *value = string(),
        OptionValue::Ints(values) => values.push(int),
        OptionValue::Floats(values) => values.push(float),
        OptionValue::Texts(values) => values.push(string()),
    }
}

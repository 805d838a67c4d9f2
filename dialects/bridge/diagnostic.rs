//! Diagnostics: emitting them with notes, collecting them, and short texts of locations.

use std::ffi::c_void;
use std::fmt;

use melior::StringRef;
use melior::diagnostic::DiagnosticSeverity;
use melior::ir::Location;
use mlir_sys::{MlirDiagnostic, MlirLocation, MlirStringRef};

unsafe extern "C" {
    fn ceria_emit(
        location: MlirLocation,
        severity: u32,
        message: MlirStringRef,
        count: usize,
        note_locations: *const MlirLocation,
        notes: *const MlirStringRef,
    );
    fn ceria_location_text(
        location: MlirLocation,
        out: *mut c_void,
        push: unsafe extern "C" fn(*mut c_void, *const u8, usize),
    );
}

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The operation cannot go on.
    Error,
    /// Something the user should look at.
    Warning,
    /// Extra information about another diagnostic.
    Note,
    /// Information asked for, such as a report of a pass.
    Remark,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
            Self::Remark => "remark",
        })
    }
}

/// A diagnostic that was collected; it outlives the context it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where: `file:line:column` or the name of a node; empty if unknown.
    pub location: String,
    /// What is wrong.
    pub message: String,
    /// Notes attached to it.
    pub notes: Vec<Diagnostic>,
}

impl Diagnostic {
    /// Copies a diagnostic that MLIR is reporting.
    pub fn copy(diagnostic: &melior::diagnostic::Diagnostic) -> Self {
        Self {
            severity: match diagnostic.severity() {
                DiagnosticSeverity::Error => Severity::Error,
                DiagnosticSeverity::Warning => Severity::Warning,
                DiagnosticSeverity::Note => Severity::Note,
                DiagnosticSeverity::Remark => Severity::Remark,
            },
            location: location_text(diagnostic.location()),
            message: diagnostic.to_string(),
            notes: (0..diagnostic.note_count())
                .filter_map(|index| diagnostic.note(index).ok())
                .map(|note| Self::copy(&note))
                .collect(),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.location.is_empty() {
            write!(f, "{}: ", self.location)?;
        }
        write!(f, "{}: {}", self.severity, self.message)?;
        self.notes.iter().try_for_each(|note| write!(f, "\n{note}"))
    }
}

/// The short text of a location: `file:line:column` or a name; empty if unknown.
pub fn location_text(location: Location) -> String {
    let mut text = String::new();
    // SAFETY: the location is valid, and `push_text` gets the string it expects.
    unsafe { ceria_location_text(location.to_raw(), (&raw mut text).cast(), push_text) };
    text
}

/// Emits an error at a location.
pub fn emit_error(location: Location, message: &str) {
    emit(Severity::Error, location, message, &[]);
}

/// Emits a warning at a location.
pub fn emit_warning(location: Location, message: &str) {
    emit(Severity::Warning, location, message, &[]);
}

/// Emits a remark at a location, which is how passes report what they found.
pub fn emit_remark(location: Location, message: &str) {
    emit(Severity::Remark, location, message, &[]);
}

/// Emits a diagnostic with notes. A note cannot be emitted alone and becomes a remark.
pub fn emit(severity: Severity, location: Location, message: &str, notes: &[(Location, String)]) {
    let locations: Vec<_> = notes.iter().map(|(location, _)| location.to_raw()).collect();
    let texts: Vec<_> = notes.iter().map(|(_, text)| StringRef::new(text).to_raw()).collect();
    let severity = match severity {
        Severity::Error => mlir_sys::MlirDiagnosticSeverity_MlirDiagnosticError,
        Severity::Warning => mlir_sys::MlirDiagnosticSeverity_MlirDiagnosticWarning,
        Severity::Note | Severity::Remark => mlir_sys::MlirDiagnosticSeverity_MlirDiagnosticRemark,
    };
    // SAFETY: all locations are valid and the arrays have the same length.
    unsafe {
        ceria_emit(
            location.to_raw(),
            severity,
            StringRef::new(message).to_raw(),
            notes.len(),
            locations.as_ptr(),
            texts.as_ptr(),
        );
    }
}

/// Appends text from C++ to a `String`.
///
/// # Safety
///
/// `out` is a `String`, and `data` has `length` bytes or `length` is zero.
pub(super) unsafe extern "C" fn push_text(out: *mut c_void, data: *const u8, length: usize) {
    if length > 0 {
        // SAFETY: promised by the caller.
        let (out, bytes) = unsafe { (&mut *out.cast::<String>(), std::slice::from_raw_parts(data, length)) };
        out.push_str(&String::from_utf8_lossy(bytes));
    }
}

/// Collects a diagnostic into a `Vec<Diagnostic>`.
///
/// # Safety
///
/// `out` is a `Vec<Diagnostic>` and the diagnostic is being reported.
pub(super) unsafe extern "C" fn push_diagnostic(out: *mut c_void, raw: MlirDiagnostic) {
    // SAFETY: promised by the caller.
    let (out, diagnostic) =
        unsafe { (&mut *out.cast::<Vec<Diagnostic>>(), melior::diagnostic::Diagnostic::from_raw(raw)) };
    out.push(Diagnostic::copy(&diagnostic));
}

//! Finds and runs NVIDIA's assembler and disassembler for GPU code.
//!
//! Both work without a GPU. `.ci/cuda-tools.sh` installs them under the build folder. A tool is looked for where its
//! environment variable says, then in `cuda-tools/bin` beside any folder above this program, which is how a program in
//! the build folder finds them, then on `PATH`.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// A tool of NVIDIA's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The assembler: from PTX to code for one architecture.
    Ptxas,
    /// The disassembler.
    Nvdisasm,
}

/// Why a tool gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not there.
    #[error(
        "there is no {tool}; run .ci/cuda-tools.sh, or set {variable}",
        tool = .0.name(),
        variable = .0.variable()
    )]
    Missing(Tool),
    /// It does not start, or its files cannot be written or read.
    #[error("cannot run {tool}: {source}", tool = .tool.name())]
    Run {
        /// The tool.
        tool: Tool,
        /// Why.
        source: io::Error,
    },
    /// It refuses its input.
    #[error("{tool} fails: {message}", tool = .tool.name())]
    Failed {
        /// The tool.
        tool: Tool,
        /// Its first words.
        message: String,
    },
    /// What it says is not understood.
    #[error("the output of {tool} is not understood: {what}", tool = .tool.name())]
    Output {
        /// The tool.
        tool: Tool,
        /// What is wrong.
        what: String,
    },
}

impl Tool {
    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ptxas => "ptxas",
            Self::Nvdisasm => "nvdisasm",
        }
    }

    /// The environment variable that says where it is.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Ptxas => "CERIA_PTXAS",
            Self::Nvdisasm => "CERIA_NVDISASM",
        }
    }

    /// Where it is.
    pub fn find(self) -> Result<PathBuf, ToolError> {
        if let Some(path) = std::env::var_os(self.variable()).filter(|path| !path.is_empty()) {
            return Ok(path.into());
        }
        let program = std::env::current_exe().ok();
        let installed = program.iter().flat_map(|program| program.ancestors().skip(1).take(5));
        let installed = installed.map(|folder| folder.join("cuda-tools/bin"));
        let searched = std::env::var_os("PATH");
        let searched = searched.iter().flat_map(std::env::split_paths);
        let mut candidates = installed.chain(searched).map(|folder| folder.join(self.name()));
        candidates.find(|path| path.is_file()).ok_or(ToolError::Missing(self))
    }

    /// Runs it; returns what it says on standard output and on standard error.
    pub(super) fn run<A: AsRef<OsStr>>(self, arguments: &[A]) -> Result<(String, String), ToolError> {
        let output = Command::new(self.find()?)
            .args(arguments)
            .output()
            .map_err(|source| ToolError::Run { tool: self, source })?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let errors =
                lines.iter().copied().filter(|line| line.contains("error") || line.contains("fatal"));
            let mut message: Vec<&str> = errors.take(3).collect();
            if message.is_empty() {
                message = lines.into_iter().take(3).collect();
            }
            return Err(ToolError::Failed { tool: self, message: message.join("; ") });
        }
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), said))
    }

    /// What the tool cannot do with a file.
    pub(super) fn failed(self) -> impl Fn(io::Error) -> ToolError {
        move |source| ToolError::Run { tool: self, source }
    }

    /// The first line that names a version, for reports.
    pub fn version(self) -> Result<String, ToolError> {
        let (text, _) = self.run(&["--version"])?;
        let line = text.lines().find(|line| line.contains("release"));
        Ok(line.and_then(|line| line.split("release").nth(1)).unwrap_or("").trim().to_string())
    }
}

/// The text of a path for a command line.
pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_says_what_to_do() {
        let text = ToolError::Missing(Tool::Ptxas).to_string();
        assert_eq!(text, "there is no ptxas; run .ci/cuda-tools.sh, or set CERIA_PTXAS");
    }
}

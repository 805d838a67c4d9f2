//! Machine code of NVIDIA GPUs as data: the disassembler's text, parsed.
//!
//! Before: a cubin. After: for each function its instructions in order, with predicates, operands and branch targets
//! resolved, ready to be counted ([`class`](Instruction::class)) and followed ([`execute`]).

mod class;
pub mod execute;
mod operand;

pub use class::{Class, Counts};
pub use operand::{Operand, Predicate, Register};

use super::tools::{Tool, ToolError, text};
use std::{collections::BTreeMap, fs};

/// A function of a cubin.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its instructions.
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// It does nothing where this does not hold.
    pub guard: Option<Predicate>,
    /// The name of the operation without modifiers: `IMAD`.
    pub base: String,
    /// Its modifiers: `WIDE`, `U32`.
    pub modifiers: Vec<String>,
    /// Its operands, results first.
    pub operands: Vec<Operand>,
    /// What its name says, decoded.
    pub(crate) op: execute::Op,
    /// What it is counted as.
    pub class: Class,
}

impl Instruction {
    /// Whether it has a modifier.
    pub fn has(&self, modifier: &str) -> bool {
        self.modifiers.iter().any(|m| m == modifier)
    }

    /// Bytes that a thread moves, for loads and stores.
    pub fn bytes(&self) -> u32 {
        let width = |m: &String| match m.as_str() {
            "U8" | "S8" => Some(1),
            "U16" | "S16" => Some(2),
            "64" => Some(8),
            "128" => Some(16),
            "256" => Some(32),
            _ => None,
        };
        self.modifiers.iter().find_map(width).unwrap_or(4)
    }
}

/// Disassembles a cubin: its functions by name.
pub fn disassemble(cubin: &[u8]) -> Result<BTreeMap<String, Function>, ToolError> {
    let failed = Tool::Nvdisasm.failed();
    let folder = tempfile::tempdir().map_err(&failed)?;
    let file = folder.path().join("kernels.cubin");
    fs::write(&file, cubin).map_err(&failed)?;
    let (listing, _) = Tool::Nvdisasm.run(&["-c".to_string(), text(&file)])?;
    parse(&listing)
}

/// Parses the disassembler's text.
pub fn parse(listing: &str) -> Result<BTreeMap<String, Function>, ToolError> {
    let mut functions = BTreeMap::new();
    let mut section: Option<Section> = None;
    for line in listing.lines() {
        let trimmed = line.trim();
        if let Some(name) = trimmed.strip_prefix(".text.").and_then(|rest| rest.strip_suffix(':')) {
            if let Some(done) = section.take() {
                let function = done.finish()?;
                functions.insert(function.name.clone(), function);
            }
            section = Some(Section { name: name.into(), ..Section::default() });
        } else if let Some(section) = &mut section {
            section.line(trimmed);
        }
    }
    if let Some(done) = section {
        let function = done.finish()?;
        functions.insert(function.name.clone(), function);
    }
    Ok(functions)
}

/// A function whose text is being read.
#[derive(Default)]
struct Section<'t> {
    name: String,
    /// The instruction that follows a label.
    labels: BTreeMap<&'t str, usize>,
    lines: Vec<&'t str>,
}

impl<'t> Section<'t> {
    fn line(&mut self, line: &'t str) {
        if let Some(rest) = line.strip_prefix("/*") {
            let text = rest.split_once("*/").map_or("", |(_, text)| text);
            let text = text.split("/*").next().unwrap_or("").trim().trim_end_matches(';').trim_end();
            if !text.is_empty() {
                self.lines.push(text);
            }
        } else if let Some(label) = line.strip_suffix(':') {
            self.labels.insert(label, self.lines.len());
        }
    }

    fn finish(self) -> Result<Function, ToolError> {
        let parse = |line: &&str| {
            self.instruction(line).ok_or_else(|| ToolError::Output {
                tool: Tool::Nvdisasm,
                what: format!("{:?} in {}", line, self.name),
            })
        };
        let instructions = self.lines.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Function { name: self.name.clone(), instructions })
    }

    fn instruction(&self, line: &str) -> Option<Instruction> {
        let (guard, line) = match line.strip_prefix('@') {
            Some(rest) => {
                let (guard, rest) = rest.split_once(char::is_whitespace)?;
                (Some(Predicate::parse(guard)?), rest.trim_start())
            }
            None => (None, line),
        };
        let (name, operands) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let mut parts = name.split('.').map(String::from);
        let base = parts.next()?;
        let modifiers: Vec<String> = parts.collect();
        let operands: Vec<Operand> = operand::split(operands)
            .into_iter()
            .map(|text| match text.strip_prefix("`(").and_then(|t| t.strip_suffix(')')) {
                Some(label) => self.labels.get(label).map_or(Operand::Other, |&at| Operand::Target(at)),
                None => Operand::parse(text),
            })
            .collect();
        let class = Class::of(&base, &modifiers, &operands);
        let op = execute::Op::of(&base);
        Some(Instruction { guard, base, modifiers, operands, op, class })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_parsed() {
        let listing = "\
            .section .text.k,\"ax\",@progbits\n\
            k:\n\
            .text.k:\n\
            \t/*0000*/  S2R R4, SR_TID.X ;\n\
            \t/*0010*/  @!P0 IMAD.WIDE.U32 R6, R5.reuse, 0x4, R6 ;\n\
            .L_x_1:\n\
            \t/*0020*/  LDG.E.128.CONSTANT R8, desc[UR6][R6.64+-0x8] ;\n\
            \t/*0030*/  @P1 BRA `(.L_x_1) ;\n\
            \t/*0040*/  EXIT ;\n";
        let functions = parse(listing).unwrap();
        let all = &functions["k"].instructions;
        assert_eq!(all.len(), 5);
        assert_eq!((all[1].base.as_str(), all[1].class), ("IMAD", Class::Multiply));
        assert!(all[1].has("WIDE") && all[1].guard.is_some());
        assert_eq!((all[2].bytes(), all[2].class), (16, Class::GlobalLoad));
        assert_eq!(all[3].operands, [Operand::Target(2)]);
    }
}

//! The reference page of passes and pipelines, made from their descriptors.

use std::fmt::Write;

use super::pass::{OptionDefault, PassDescriptor, PassOption, PipelineDescriptor};

/// Markdown for sections of passes, each with a title, and for the named pipelines.
pub fn page(sections: &[(&str, Vec<&PassDescriptor>)], pipelines: &[&PipelineDescriptor]) -> String {
    let mut page = String::from("# Passes and pipelines\n");
    for (title, passes) in sections.iter().filter(|(_, passes)| !passes.is_empty()) {
        push(&mut page, format_args!("\n## {title}\n"));
        passes.iter().for_each(|pass| describe(&mut page, pass));
    }
    if !pipelines.is_empty() {
        page += "\n## Pipelines\n";
    }
    for pipeline in pipelines {
        push(&mut page, format_args!("\n### `--{}`\n\n_{}_\n", pipeline.argument, pipeline.summary));
        describe_options(&mut page, pipeline.options);
    }
    page
}

fn describe(page: &mut String, pass: &PassDescriptor) {
    let anchor = pass.anchor.map_or_else(|| "any op".to_string(), |name| format!("`{name}`"));
    push(page, format_args!("\n### `--{}`\n\n_{}_\n\nRuns on {anchor}.", pass.argument, pass.summary));
    if !pass.dependent_dialects.is_empty() {
        let dialects: Vec<_> = pass.dependent_dialects.iter().map(|name| format!("`{name}`")).collect();
        push(page, format_args!(" May create ops of {}.", dialects.join(", ")));
    }
    page.push('\n');
    let description = pass.description.trim();
    if !description.is_empty() {
        push(page, format_args!("\n{description}\n"));
    }
    describe_options(page, pass.options);
}

fn describe_options(page: &mut String, options: &[PassOption]) {
    if !options.is_empty() {
        page.push_str("\n| option | type | default | meaning |\n|---|---|---|---|\n");
    }
    for option in options {
        let (kind, default) = match option.default {
            OptionDefault::Bool(value) => ("flag", value.to_string()),
            OptionDefault::Int(value) => ("integer", value.to_string()),
            OptionDefault::Float(value) => ("number", value.to_string()),
            OptionDefault::Text(value) => ("text", value.to_string()),
            OptionDefault::Ints(values) => ("integers", list(values)),
            OptionDefault::Floats(values) => ("numbers", list(values)),
            OptionDefault::Texts(values) => ("texts", list(values)),
        };
        let default = if default.is_empty() { default } else { format!("`{default}`") };
        push(page, format_args!("| `{}` | {kind} | {default} | {} |\n", option.name, option.doc));
    }
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn push(page: &mut String, text: std::fmt::Arguments) {
    // Writing to a string does not fail.
    let _ = page.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_with_options() {
        static PASS: PassDescriptor = PassDescriptor {
            argument: "x-do",
            summary: "Does",
            description: "Before and after.\n",
            dependent_dialects: &["x"],
            options: &[PassOption::ints("steps", &[1, 2], "which"), PassOption::text("name", "", "whose")],
            ..PassDescriptor::FUNCTION
        };
        let expected = "# Passes and pipelines\n\n## X\n\n### `--x-do`\n\n_Does_\n\nRuns on `func.func`. May create ops \
                        of `x`.\n\nBefore and after.\n\n| option | type | default | meaning |\n|---|---|---|---|\n\
                        | `steps` | integers | `1,2` | which |\n| `name` | text |  | whose |\n";
        assert_eq!(page(&[("X", vec![&PASS]), ("Y", vec![])], &[]), expected);
    }
}

//! What is known of device code without a device: assembled, disassembled and followed, for each architecture.
//!
//! Without an assembler these tests say so and do nothing; `.ci/cuda-tools.sh` installs it.

use ceria_lowering::kernel_to_nvvm::{
    predict::{Code, estimate},
    sass::{Class, execute::Region},
    tools::Tool,
};
use ceria_runtime::format::manifest::Launch;

/// The architectures that code is made for.
const ARCHITECTURES: [u32; 4] = [80, 90, 100, 120];

/// Whether there are tools; says so if not.
pub fn tools() -> bool {
    let missing = [Tool::Ptxas, Tool::Nvdisasm].into_iter().find_map(|tool| tool.find().err());
    if let Some(error) = &missing {
        eprintln!("skipped: {error}");
    }
    missing.is_none()
}

/// Sums of products: `last - first` rows of words times one factor a row, over 128 threads a block, four words each.
const SUMS: &str = r#"
.version 8.0
.target sm_80
.address_size 64
.visible .entry sums(.param .u64 rows, .param .u64 factors, .param .u64 out, .param .u64 first, .param .u64 last)
{
  .reg .pred %p<2>;
  .reg .b32 %r<16>;
  .reg .b64 %d<24>;
  ld.param.u64 %d1, [rows];
  ld.param.u64 %d2, [factors];
  ld.param.u64 %d3, [out];
  ld.param.u64 %d4, [first];
  ld.param.u64 %d5, [last];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %ctaid.x;
  mad.lo.u32 %r3, %r2, 128, %r1;
  mul.wide.u32 %d6, %r3, 16;
  add.u64 %d7, %d1, %d6;
  add.u64 %d8, %d3, %d6;
  mad.lo.u64 %d9, %d4, 16384, %d7;
  mad.lo.u64 %d10, %d4, 4, %d2;
  mov.u64 %d11, 0;
  mov.u64 %d12, 0;
  mov.u64 %d13, 0;
  mov.u64 %d14, 0;
TURN:
  .pragma "nounroll";
  ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%d9];
  ld.global.u32 %r8, [%d10];
  mad.wide.u32 %d11, %r4, %r8, %d11;
  mad.wide.u32 %d12, %r5, %r8, %d12;
  mad.wide.u32 %d13, %r6, %r8, %d13;
  mad.wide.u32 %d14, %r7, %r8, %d14;
  add.u64 %d9, %d9, 16384;
  add.u64 %d10, %d10, 4;
  add.u64 %d4, %d4, 1;
  setp.lt.u64 %p1, %d4, %d5;
  @%p1 bra TURN;
  mov.b64 {%r4, %r9}, %d11;
  mov.b64 {%r5, %r10}, %d12;
  mov.b64 {%r6, %r11}, %d13;
  mov.b64 {%r7, %r12}, %d14;
  add.u32 %r4, %r4, %r9;
  add.u32 %r5, %r5, %r10;
  add.u32 %r6, %r6, %r11;
  add.u32 %r7, %r7, %r12;
  st.global.v4.u32 [%d8], {%r4, %r5, %r6, %r7};
  ret;
}
"#;

fn launch(symbol: &str, grid: [u32; 3], block: u32) -> Launch {
    Launch { symbol: symbol.into(), grid, block, ..Launch::default() }
}

#[test]
fn ptxas_loops_turn_as_often_as_their_parameters_say() {
    if !tools() {
        return;
    }
    for architecture in ARCHITECTURES {
        let code = Code::assemble(SUMS, architecture).unwrap();
        let (usage, _) = &code.functions["sums"];
        assert!(!usage.spills() && usage.registers > 8, "sm_{architecture}: {usage:?}");
        let (rows, factors, out) = (0x10_0000_0000, 0x20_0000_0000, 0x30_0000_0000);
        let tables = [Region { start: rows, end: rows + (1 << 30), streamed: true, words: Vec::new() }];
        let launch = launch("sums", [8, 1, 1], 128);
        for turns in [1, 12, 35] {
            let parameters = [rows, factors, out, 5, 5 + turns];
            let found = estimate(&code, &launch, &parameters, &tables).unwrap();
            let turns = turns as f64;
            assert!(!found.guessed, "sm_{architecture}");
            // Four products a turn; addresses are made with a few more.
            let products = found.counts.of(Class::Multiply);
            assert!((4.0 * turns..4.0 * turns + 12.0).contains(&products), "sm_{architecture}: {products}");
            assert_eq!(found.counts.of(Class::GlobalLoad), 2.0 * turns, "sm_{architecture}");
            assert_eq!(found.counts.of(Class::GlobalStore), 1.0, "sm_{architecture}");
            // Rows are read once, all threads read the same factors, each thread writes its own words.
            let threads = 8.0 * 128.0;
            assert_eq!(found.table_bytes, turns * 16.0 * threads, "sm_{architecture}");
            assert_eq!(found.buffer_bytes, turns * 4.0 + 16.0 * threads, "sm_{architecture}");
        }
    }
}

#[test]
fn ptxas_spills_are_reported() {
    if !tools() {
        return;
    }
    // Forty values that are all alive at a barrier do not fit 24 registers.
    let mut text = String::from(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry many(.param .u64 a) .maxntid 32, 1, 1 .maxnreg 24\n\
         {\n.reg .b32 %r<64>;\n.reg .b64 %d<2>;\nld.param.u64 %d1, [a];\n",
    );
    for i in 0..40 {
        text += &format!("ld.volatile.global.u32 %r{i}, [%d1+{}];\n", 4 * i);
    }
    text += "bar.sync 0;\n";
    for i in 0..40 {
        text += &format!("st.volatile.global.u32 [%d1+{}], %r{};\n", 4 * i, 39 - i);
    }
    text += "ret;\n}\n";
    let code = Code::assemble(&text, 90).unwrap();
    assert!(code.functions["many"].0.spills(), "{:?}", code.functions["many"].0);
}

#[test]
fn ptxas_errors_are_one_line() {
    if !tools() {
        return;
    }
    let error = Code::assemble(&SUMS.replace("mad.wide.u32", "mad.wider.u32"), 90).err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("ptxas fails: ") && !text.contains('\n'), "{text}");
}

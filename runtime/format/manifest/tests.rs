use super::*;

fn sample() -> Manifest {
    let params = Params::toy(5, 2, 1);
    let moduli = params.key_basis(1);
    let limbs = moduli.len() as u64;
    let digits = params.digits(&moduli.q_part()).len() as u64;
    let port = |name: &str, level| Port {
        name: name.into(),
        shape: vec![1, 10],
        layout: "slots".into(),
        ciphertexts: 1,
        size: 2,
        level,
        scale: Scale::level(level),
        range: Some([-1.0, 1.0]),
        post: vec![PostProcess::Argmax { axis: 1 }],
    };
    Manifest {
        version: VERSION,
        name: "sample".into(),
        inputs: vec![port("x", 1)],
        outputs: vec![port("y", 0)],
        keys: KeySet {
            relin: Some(1),
            galois: vec![GaloisKey { element: 5, step: Some(1), level: 1 }],
            bootstrap: None,
        },
        tables: vec![
            Table { name: "i".into(), shape: vec![2], content: TableContent::Index { values: vec![0, 2] } },
            Table {
                name: "k".into(),
                shape: vec![1, digits, 2, limbs, 32],
                content: TableContent::GaloisKey { elements: vec![5], moduli: moduli.clone() },
            },
            Table {
                name: "p".into(),
                shape: vec![1, limbs, 8],
                content: TableContent::Plaintext {
                    moduli,
                    scale: Scale::level(1),
                    source: PlaintextSource::Values { vectors: vec![vec![0.1, -2.0]] },
                },
            },
        ],
        memory: Memory { arena_bytes: 1024, scratch_bytes: 128 },
        kernels: vec![Kernel { name: "add".into(), ..Kernel::default() }],
        device: None,
        prediction: Prediction { precision_bits: Some(20.5), ..Prediction::default() },
        op_counts: BTreeMap::from([("ckks.add".into(), 3)]),
        files: BTreeMap::from([("host.so".into(), FileEntry::of(b"code"))]),
        params,
    }
}

#[test]
fn survives_its_text() -> Result<(), ManifestError> {
    let manifest = sample();
    let text = manifest.to_json()?;
    assert_eq!(Manifest::from_json(&text)?, manifest);
    Ok(())
}

fn launch(block: u32) -> Launch {
    Launch { symbol: "add_0".into(), grid: [1, 1, 1], block, ..Launch::default() }
}

fn on_device(manifest: &mut Manifest, block: u32) {
    manifest.kernels[0].launches = vec![launch(block)];
    manifest.device = Some(DeviceCode { ptx: "host.so".into(), cubins: BTreeMap::new(), scratch_bytes: 0 });
}

#[test]
fn refuses_contradictions() {
    let wrong = |change: fn(&mut Manifest)| {
        let mut manifest = sample();
        change(&mut manifest);
        let text = manifest.to_json().unwrap_or_default();
        Manifest::from_json(&text).map_err(|e| e.to_string()).err().unwrap_or_default()
    };
    assert!(wrong(|m| m.version = 9).contains("format 9"));
    assert!(wrong(|m| m.tables[0].shape = vec![3]).contains("table i has shape [3], expected [2]"));
    assert!(wrong(|m| m.tables[2].shape = vec![1, 1, 3]).contains("period 3"));
    assert!(wrong(|m| m.inputs[0].level = 7).contains("level 7"));
    assert!(wrong(|m| m.keys.galois[0].element = 4).contains("Galois key 4"));
    assert!(wrong(|m| m.kernels[0].launches = vec![launch(32)]).contains("kernel add is not for the device"));
    assert_eq!(wrong(|m| on_device(m, 32)), "");
    assert!(wrong(|m| on_device(m, 2048)).contains("add_0 cannot be launched"));
    assert!(
        wrong(|m| {
            on_device(m, 32);
            m.files.clear();
        })
        .contains("no file host.so")
    );
    assert!(
        wrong(|m| {
            m.files.insert("../x".into(), FileEntry::of(b""));
        })
        .contains("not the name")
    );
}

#[test]
fn refuses_truncated_text() {
    let text = sample().to_json().unwrap_or_default();
    for end in (0..text.len() - 2).step_by(7) {
        assert!(Manifest::from_json(&text[..end]).is_err());
    }
}

#[test]
fn files_are_checked() {
    let entry = FileEntry::of(b"code");
    assert!(entry.verify("f", b"code").is_ok());
    assert!(entry.verify("f", b"cod").is_err_and(|e| e.to_string().contains("length")));
    assert!(entry.verify("f", b"Code").is_err_and(|e| e.to_string().contains("hash")));
}

//! Archives as `torch.save` writes them, around any pickle; the fuzzer has them too.

/// A zip archive of entries as they are.
pub(crate) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for (name, bytes) in entries {
        let sizes = [0, bytes.len() as u32, bytes.len() as u32].map(u32::to_le_bytes).concat();
        let at = file.len() as u32;
        file.extend(b"PK\x03\x04\0\0\0\0\0\0\0\0\0\0");
        file.extend(&sizes);
        file.extend((name.len() as u16).to_le_bytes());
        file.extend([0, 0]);
        file.extend(name.bytes());
        file.extend(*bytes);
        directory.extend(b"PK\x01\x02\0\0\0\0\0\0\0\0\0\0\0\0");
        directory.extend(&sizes);
        directory.extend((name.len() as u16).to_le_bytes());
        directory.extend([0; 12]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.bytes());
    }
    let at = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(at.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// The archive of a pickle and a storage `0` of 64 bytes.
pub(crate) fn with_pickle(pickle: &[u8]) -> Vec<u8> {
    let storage: Vec<u8> = (0..64).collect();
    archive(&[("a/data.pkl", pickle), ("a/byteorder", b"little"), ("a/data/0", &storage)])
}

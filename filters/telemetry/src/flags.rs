//! Response flags as text.

/// Short names of Envoy's response flags, by bit (Envoy, `CoreResponseFlag` in `envoy/stream_info/stream_info.h`).
const NAMES: [&str; 30] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX",
    "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
];

/// `-` for none, names with commas between otherwise.
pub(crate) fn shown(flags: i64) -> String {
    let set = NAMES
        .iter()
        .enumerate()
        .filter(|(bit, _)| flags >> bit & 1 == 1)
        .map(|(_, name)| *name);
    let names: Vec<&str> = set.collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        names.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn flags_have_envoys_short_names() {
        assert_eq!(shown(0), "-");
        assert_eq!(shown(1 << 5), "UF");
        assert_eq!(shown(1 << 5 | 1 << 15), "UF,URX");
        assert_eq!(shown(1 << 8), "NR");
    }
}

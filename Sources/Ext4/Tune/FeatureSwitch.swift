// Which features a volume that has contents can get or lose, and what that takes.

/// What it takes to switch a feature.
enum FeatureSwitch {
    /// Nothing but the bit.
    case bit
    /// A journal is made, or freed.
    case journal
    /// The file of orphans is freed.
    case orphanFile
    /// All checksums are written anew.
    case checksums
    /// The bit, and then a repair of the directories.
    case directories

    /// What switching on takes; nil for what cannot be switched on.
    static let on: [(feature: FeatureMask, way: FeatureSwitch)] = [
        (FeatureMask([.hasJournal]), .journal),
        (FeatureMask([.dirIndex]), .bit),
        (FeatureMask([.extAttr]), .bit),
        (FeatureMask([.stableInodes]), .bit),
        (FeatureMask([], [.eaInode]), .bit),
        (FeatureMask([], [.encrypt]), .bit),
        (FeatureMask([], [.largeDir]), .bit),
        (FeatureMask([], [.extents]), .bit),
        (FeatureMask([], [.csumSeed]), .bit),
        (FeatureMask([], [], [.largeFile]), .bit),
        (FeatureMask([], [], [.hugeFile]), .bit),
        (FeatureMask([], [], [.dirNlink]), .bit),
        (FeatureMask([], [], [.extraIsize]), .bit),
        (FeatureMask([], [], [.verity]), .bit),
        (FeatureMask([], [], [.readOnly]), .bit),
        (FeatureMask([], [], [.metadataCsum]), .checksums),
        (FeatureMask([], [], [.gdtCsum]), .checksums),
    ]

    /// What switching off takes.
    static let off: [(feature: FeatureMask, way: FeatureSwitch)] = [
        (FeatureMask([.hasJournal]), .journal),
        (FeatureMask([.orphanFile]), .orphanFile),
        (FeatureMask([.dirIndex]), .directories),
        (FeatureMask([.stableInodes]), .bit),
        (FeatureMask([], [.csumSeed]), .checksums),
        (FeatureMask([], [], [.readOnly]), .bit),
        (FeatureMask([], [], [.metadataCsum]), .checksums),
        (FeatureMask([], [], [.gdtCsum]), .checksums),
    ]

    /// The ways that switching `features` takes.
    ///
    /// - Throws: `.refused` naming a feature that cannot be switched so.
    static func ways(
        of features: FeatureMask, _ table: [(feature: FeatureMask, way: FeatureSwitch)],
        _ direction: String
    ) throws(TuneFailure) -> [FeatureSwitch] {
        var rest = features
        var ways: [FeatureSwitch] = []
        for entry in table where rest.contains(entry.feature) {
            rest.apply(.clear(entry.feature))
            ways.append(entry.way)
        }
        guard let name = rest.names.first else { return ways }
        var known = ""
        for entry in table {
            known += (known.isEmpty ? "" : ", ") + (entry.feature.names.first ?? "")
        }
        throw .refused(
            "\(name) cannot be switched \(direction) on a volume that is there\(hint(for: name));"
                + " these can: \(known)")
    }

    private static func hint(for name: String) -> String {
        switch name {
        case "64bit": " (resize2fs -b does it)"
        case "quota", "project": " (tune2fs counts quotas anew when it switches them on)"
        case "casefold": " (its names would have to be folded and hashed anew)"
        case "mmp": " (tune2fs can)"
        default: ""
        }
    }
}

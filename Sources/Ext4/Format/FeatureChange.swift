/// Features of all three masks of a superblock.
public struct FeatureMask: Hashable, Sendable {
    /// Those of `s_feature_compat`.
    public var compatible: CompatibleFeatures
    /// Those of `s_feature_incompat`.
    public var incompatible: IncompatibleFeatures
    /// Those of `s_feature_ro_compat`.
    public var readOnlyCompatible: ReadOnlyCompatibleFeatures

    /// Makes a mask.
    public init(
        _ compatible: CompatibleFeatures = [], _ incompatible: IncompatibleFeatures = [],
        _ readOnlyCompatible: ReadOnlyCompatibleFeatures = []
    ) {
        self.compatible = compatible
        self.incompatible = incompatible
        self.readOnlyCompatible = readOnlyCompatible
    }

    /// The features that a new volume can have.
    package static let makable = FeatureMask(
        [
            .hasJournal, .resizeInode, .dirIndex, .extAttr, .sparseSuper2, .fastCommit,
            .stableInodes, .orphanFile,
        ],
        [
            .filetype, .extents, .metaBg, .flexBg, .eaInode, .mmp, .bit64, .inlineData, .encrypt,
            .casefold, .csumSeed, .largeDir,
        ],
        [
            .largeFile, .hugeFile, .dirNlink, .extraIsize, .sparseSuper, .gdtCsum, .bigalloc,
            .quota, .metadataCsum, .project, .verity,
        ])

    /// The feature of that name, as `dumpe2fs` prints it; nil for a name that means nothing.
    public init?(named name: String) {
        // In any case, as e2fsprogs has it.
        let small = String(
            decoding: name.utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
        let name =
            switch small {
            case "extents": "extent"
            case "uninit_groups": "uninit_bg"
            default: small
            }
        self.init()
        for known in CompatibleFeatures.table where known.name == name {
            compatible = known.feature
            return
        }
        for known in IncompatibleFeatures.table where known.name == name {
            incompatible = known.feature
            return
        }
        for known in ReadOnlyCompatibleFeatures.table where known.name == name {
            readOnlyCompatible = known.feature
            return
        }
        return nil
    }

    /// The names of all features of the mask.
    public var names: [String] {
        compatible.names + incompatible.names + readOnlyCompatible.names
    }

    /// Whether all features of `other` are in this mask.
    public func contains(_ other: FeatureMask) -> Bool {
        compatible.isSuperset(of: other.compatible)
            && incompatible.isSuperset(of: other.incompatible)
            && readOnlyCompatible.isSuperset(of: other.readOnlyCompatible)
    }

    /// Applies a change.
    package mutating func apply(_ change: FeatureChange) {
        switch change {
        case .clearAll: self = FeatureMask()
        case .set(let features):
            compatible.formUnion(features.compatible)
            incompatible.formUnion(features.incompatible)
            readOnlyCompatible.formUnion(features.readOnlyCompatible)
        case .clear(let features):
            compatible.subtract(features.compatible)
            incompatible.subtract(features.incompatible)
            readOnlyCompatible.subtract(features.readOnlyCompatible)
        }
    }
}

/// A change to the features that a kind of volume has of itself.
public enum FeatureChange: Hashable, Sendable {
    /// No feature is left (`none`).
    case clearAll
    /// These come to it.
    case set(FeatureMask)
    /// These go (`^name`).
    case clear(FeatureMask)

    /// Reads a list as `mke2fs -O` takes it: names with commas between, `^` before those that go,
    /// `none` for none at all.
    public static func list(_ text: String) throws(FormatProblem) -> [FeatureChange] {
        var changes: [FeatureChange] = []
        for part in text.utf8.split(whereSeparator: { $0 == 0x2C || $0 == 0x20 }) {
            let isOff = part.first == 0x5E || part.first == 0x2D
            let isOn = part.first == 0x2B
            let name = String(decoding: isOff || isOn ? part.dropFirst() : part, as: UTF8.self)
            if name == "none", !isOff {
                changes.append(.clearAll)
                continue
            }
            guard let mask = FeatureMask(named: name) else {
                throw FormatProblem(
                    "there is no feature \(name); there are \(words(FeatureMask.makable.names))")
            }
            guard FeatureMask.makable.contains(mask) else {
                throw FormatProblem(
                    "\(name) is no feature that a new volume can have;"
                        + " those are \(words(FeatureMask.makable.names))")
            }
            changes.append(isOff ? .clear(mask) : .set(mask))
        }
        return changes
    }

    private static func words(_ names: [String]) -> String {
        var text = ""
        for name in names { text += text.isEmpty ? name : ", " + name }
        return text
    }
}

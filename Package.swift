// swift-tools-version: 6.2
import PackageDescription

/// Settings of every Swift target: the language's safe subset, no warnings left standing.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
    // Faults on purpose, for `Ext4CrashTests`; see Sources/Ext4/Journal/Mutant.swift.
    .define("MUTANTS", .when(configuration: .debug)),
]

let package = Package(
    name: "swift-ext4",
    platforms: [.macOS(.v26)],
    products: [
        .library(name: "Ext4", targets: ["Ext4"]),
        .library(name: "Ext4Check", targets: ["Ext4Check"]),
        .library(name: "Ext4Host", targets: ["Ext4Host"]),
        .executable(name: "ext4", targets: ["Ext4Command"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    ],
    targets: [
        // The engine: standard library only.
        .target(name: "CCRC32C"),
        .target(name: "CMonitor"),
        .target(name: "Ext4", dependencies: ["CCRC32C", "CMonitor"], swiftSettings: settings),

        // What holds a volume to the rules of the format.
        .target(name: "Ext4Check", dependencies: ["Ext4"], swiftSettings: settings),

        // The doors to an operating system.
        .systemLibrary(
            name: "CArchive", pkgConfig: "libarchive", providers: [.apt(["libarchive-dev"])]),
        .target(name: "CLinux"),
        .target(
            name: "Ext4Host",
            dependencies: [
                "Ext4", "CArchive", "CLinux",
                .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: settings),
        .systemLibrary(name: "CFuse3", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
        .target(
            name: "Ext4Mount",
            dependencies: [
                "Ext4", "Ext4Host", "CFuse3", "CLinux",
                .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: settings),

        // What proves it.
        .target(name: "CHostTree"),
        .target(
            name: "Ext4Verify", dependencies: ["Ext4", "Ext4Host", "Ext4Check", "CHostTree"],
            swiftSettings: settings),
        // Damages sound images in hundreds of ways, and holds check and repair against e2fsck.
        .executableTarget(
            name: "ext4-corpus", dependencies: ["Ext4", "Ext4Check", "Ext4Verify", "CHostTree"],
            path: "Tests/Corpus", swiftSettings: settings),
        // Fills an image with each of many sets of mke2fs options and compares what the kernel
        // and the engine see in it.
        .executableTarget(
            name: "ext4-matrix", dependencies: ["Ext4", "Ext4Host", "Ext4Verify", "CHostTree"],
            path: "Tests/Matrix", swiftSettings: settings),

        // Random operations on volumes and on a model of them; volumes starved of their devices.
        .executableTarget(
            name: "ext4-model", dependencies: ["Ext4", "Ext4Host", "Ext4Verify", "CHostTree"],
            path: "Tests/Model", swiftSettings: settings),

        // Kills the process behind a mount, or the power, under writers that keep a ledger.
        .executableTarget(
            name: "ext4-soak", dependencies: ["Ext4Verify", "CHostTree"], path: "Tests/Soak",
            exclude: ["recorder.c"], swiftSettings: settings),

        // The command. The target is not called `ext4`: on a file system that ignores case its
        // folder would be the engine's.
        .executableTarget(
            name: "Ext4Command",
            dependencies: [
                "Ext4", "Ext4Check", "Ext4Host", "Ext4Mount", "Ext4Verify",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: settings),

        .executableTarget(
            name: "ReadImage", dependencies: ["Ext4", "Ext4Host"], path: "Examples/ReadImage",
            swiftSettings: settings),
        .executableTarget(
            name: "MakeImage", dependencies: ["Ext4", "Ext4Host"], path: "Examples/MakeImage",
            swiftSettings: settings),

        // Runs e2fsprogs and the like in tests.
        .target(name: "TestShell", path: "Tests/Shell", swiftSettings: settings),
        .testTarget(name: "Ext4Tests", dependencies: ["Ext4"], swiftSettings: settings),
        // Needs e2fsprogs, tar and libarchive's bsdtar; locks and mounts are tested as root.
        .testTarget(
            name: "Ext4HostTests", dependencies: ["Ext4", "Ext4Host", "Ext4Command"],
            swiftSettings: settings),
        // Needs e2fsprogs, attr, acl and, as root, the kernel's ext4 on loop devices.
        .testTarget(
            name: "Ext4AttributesTests", dependencies: ["Ext4"], swiftSettings: settings),
        // Needs root, /dev/fuse and loop devices: says so and passes where they are missing.
        .testTarget(
            name: "Ext4MountTests", dependencies: ["Ext4", "Ext4Mount", "Ext4Command"],
            swiftSettings: settings),
        // Journals that the kernel and debugfs left dirty. Needs e2fsprogs; as root it mounts.
        .testTarget(
            name: "Ext4JournalTests", dependencies: ["Ext4", "Ext4Host"], swiftSettings: settings),
        // Volumes that are written, cut off, filled up and starved of a device. Needs e2fsprogs;
        // as root it mounts.
        .testTarget(
            name: "Ext4WriteTests", dependencies: ["Ext4", "Ext4Host", "Ext4Verify"],
            swiftSettings: settings),
        // The crash explorer: that it finds what is wrong, and nothing where nothing is. Needs
        // e2fsprogs.
        .testTarget(
            name: "Ext4CrashTests", dependencies: ["Ext4", "Ext4Verify"], swiftSettings: settings),
        // Damaged volumes, and the finds of the fuzzer; shares its sources with `scripts/fuzz`.
        .testTarget(
            name: "MalformedImageTests",
            dependencies: ["Ext4", "Ext4Check", "Ext4Host", "Ext4Verify"],
            swiftSettings: settings),
        // The rules of the check, and its verdict against e2fsck's. Needs e2fsprogs.
        .testTarget(
            name: "Ext4CheckTests", dependencies: ["Ext4", "Ext4Check", "Ext4Host"],
            swiftSettings: settings),
        // Volumes that become larger and smaller. Needs e2fsprogs.
        .testTarget(
            name: "Ext4ResizeTests",
            dependencies: ["TestShell", "Ext4", "Ext4Check", "Ext4Host", "Ext4Verify"],
            swiftSettings: settings),
        // Volumes that the maker makes, and images with contents. `scripts/compare-mkfs` and
        // `scripts/compare-images` compare them with those of others. Needs e2fsprogs and tar.
        .testTarget(
            name: "Ext4FormatTests", dependencies: ["TestShell", "Ext4", "Ext4Check", "Ext4Host"],
            swiftSettings: settings),
        // Volumes whose features and checksums change. Needs e2fsprogs.
        .testTarget(
            name: "Ext4TuneTests",
            dependencies: ["TestShell", "Ext4", "Ext4Check", "Ext4Host", "Ext4Verify"],
            swiftSettings: settings),
        // Holds the project itself to its rules: layers, names, lengths, layout tables.
        .testTarget(name: "TidyTests", swiftSettings: settings),
    ]
)

// swift-tools-version: 6.2

import PackageDescription

/// Set by scripts/fuzz: its program has libFuzzer's main, and what it tries has to be quick.
let isFuzzing = Context.environment["CUSTODY_FUZZING"] != nil

/// One place for the language settings of every target.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
] + (isFuzzing ? [.unsafeFlags(["-O"])] : [])

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let signals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "custody",
    products: [
        .library(name: "CustodyClient", targets: ["CustodyClient"]),
        .library(name: "MasterKey", targets: ["MasterKey", "AWSKMS", "TenantStorage"]),
        .executable(name: "custodyd", targets: ["custodyd"]),
        .executable(name: "custodyctl", targets: ["custodyctl"]),
        .executable(name: "custody-mek", targets: ["custody-mek"]),
        .executable(name: "custody-bench", targets: ["custody-bench"]),
        .executable(name: "custody-mek-bench", targets: ["custody-mek-bench"]),
        // For tests: the PKCS#11 module between a program and SoftHSM.
        .library(name: "custody-fault-module", type: .dynamic, targets: ["FaultModule"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    ],
    targets: [
        // The C side: headers and the few system calls that Swift cannot express.
        .systemLibrary(name: "CPKCS11", pkgConfig: "p11-kit-1", providers: [.apt(["libp11-kit-dev"])]),
        .target(name: "CSystemShim"),
        .target(name: "CZeroingHeap"),
        .target(name: "SecureMemory", dependencies: ["CSystemShim"], swiftSettings: strict),

        .target(name: "ByteEncoding", swiftSettings: strict),
        .target(name: "TOML", swiftSettings: strict),

        // The vault, bottom up.
        .target(name: "PKCS11", dependencies: ["CPKCS11", "SecureMemory"], swiftSettings: strict),
        .target(
            name: "Custody",
            dependencies: [
                "ByteEncoding", "CSystemShim", "PKCS11", "SecureMemory", log, .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "CoreMetrics", package: "swift-metrics"), .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: strict),
        .target(
            name: "CustodyProtocol",
            dependencies: ["ByteEncoding", nioCore, "CSystemShim", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
            exclude: ["custody.proto"],
            swiftSettings: strict),
        .target(
            name: "CustodyServer",
            dependencies: [
                "ByteEncoding", "Custody", "CustodyProtocol", "CSystemShim", "PKCS11", "SecureMemory", "TOML", nioCore, nioPosix, log, lifecycle,
                .product(name: "Crypto", package: "swift-crypto"), .product(name: "SwiftProtobuf", package: "swift-protobuf"),
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: strict),
        .target(
            name: "CustodyClient",
            dependencies: [
                "CustodyProtocol", "SecureMemory", nioCore, nioPosix,
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            swiftSettings: strict),

        // The service's side: the double envelope of its master encryption key.
        .target(
            name: "MasterKey",
            dependencies: [
                "ByteEncoding", "CustodyClient", "CustodyProtocol", "SecureMemory", .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: strict),
        .target(
            name: "AWSKMS",
            dependencies: [
                "ByteEncoding", "CSystemShim", "MasterKey", "SecureMemory", nioCore, nioHTTP1, nioPosix,
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: strict),
        .systemLibrary(name: "CPostgreSQL", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .target(name: "PostgreSQL", dependencies: ["CPostgreSQL"], swiftSettings: strict),
        .target(
            name: "TenantStorage",
            dependencies: ["MasterKey", "PostgreSQL", nioPosix, .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: strict),

        // Mains, and what the tools among them share.
        .target(name: "ToolSupport", dependencies: ["ByteEncoding", "CSystemShim", "SecureMemory", arguments], swiftSettings: strict),
        .executableTarget(
            name: "custodyd",
            dependencies: ["CustodyServer", "CZeroingHeap", "ToolSupport", arguments, lifecycle, signals, log],
            swiftSettings: strict),
        .executableTarget(
            name: "custodyctl",
            dependencies: [
                "ByteEncoding",
                "CustodyServer", "CustodyClient", "CustodyProtocol", "Custody", "PKCS11", "SecureMemory", "CZeroingHeap",
                "ToolSupport", arguments, nioCore, nioHTTP1, nioPosix, .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "custody-mek",
            dependencies: [
                "ByteEncoding",
                "MasterKey", "AWSKMS", "TenantStorage", "CustodyClient", "SecureMemory", "CZeroingHeap", "ToolSupport", arguments,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "custody-bench",
            dependencies: [
                "CustodyClient", "CustodyServer", "CustodyProtocol", "Custody", "PKCS11", "SecureMemory", "CSystemShim", "ToolSupport",
                nioCore, arguments, .product(name: "SwiftProtobuf", package: "swift-protobuf"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "custody-mek-bench",
            dependencies: [
                "AWSKMS", "CustodyClient", "MasterKey", "SecureMemory", "TenantStorage", "ToolSupport", arguments,
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            swiftSettings: strict),

        // Tests; those that need a token make one of SoftHSM's.
        .target(name: "CTestSupport", path: "Tests/CTestSupport"),
        .target(name: "FaultControl", path: "Tests/FaultControl"),
        .target(name: "FaultModule", dependencies: ["CPKCS11", "FaultControl"], path: "Tests/FaultModule"),
        .target(
            name: "TestSupport",
            dependencies: [
                "CTestSupport", "Custody", "FaultControl", "CustodyClient", "CustodyProtocol", "PKCS11", "SecureMemory", "ToolSupport", nioCore, nioPosix, nioHTTP1,
            ],
            path: "Tests/TestSupport", swiftSettings: strict),
        .target(
            name: "FaultMatrix", dependencies: ["CustodyClient", "CustodyProtocol", "PKCS11", "SecureMemory", "TestSupport"],
            path: "Tests/FaultMatrix", swiftSettings: strict),
        .executableTarget(
            name: "custody-faults", dependencies: ["FaultMatrix", "custodyd", "custodyctl", arguments],
            path: "Tests/FaultMatrixTool", swiftSettings: strict),
        .testTarget(
            name: "FaultMatrixTests",
            // The programs are those that the stands start.
            dependencies: ["FaultMatrix", "custodyd", "custodyctl"],
            swiftSettings: strict),
        .testTarget(name: "PKCS11Tests", dependencies: ["PKCS11", "SecureMemory", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "CustodyTests",
            dependencies: ["ByteEncoding", "Custody", "PKCS11", "SecureMemory", "TestSupport", log, .product(name: "Crypto", package: "swift-crypto")],
            resources: [.copy("Vectors")],
            swiftSettings: strict),
        .executableTarget(
            name: "custody-load", dependencies: ["CustodyClient", "SecureMemory"], path: "Tests/CustodyLoad",
            swiftSettings: strict),
        .executableTarget(
            name: "custody-hostile",
            dependencies: ["CustodyProtocol", "CSystemShim", nioCore, .product(name: "SwiftProtobuf", package: "swift-protobuf")],
            path: "Tests/HostileClient", swiftSettings: strict),
        .executableTarget(
            name: "custody-soak",
            dependencies: [
                "ByteEncoding", "CSystemShim", "CTestSupport", "CustodyClient", "CustodyProtocol", "PKCS11", "SecureMemory", "TestSupport",
                nioCore, arguments, .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
                // The programs that it starts.
                "custodyd", "custodyctl",
            ],
            path: "Tests/Soak", swiftSettings: strict),
        .testTarget(
            name: "SystemTests",
            dependencies: [
                "ByteEncoding", "CustodyClient", "CustodyProtocol", "CSystemShim", "PKCS11", "SecureMemory", "TestSupport", nioCore,
                .product(name: "Crypto", package: "swift-crypto"), .product(name: "SwiftProtobuf", package: "swift-protobuf"),
                // The programs that the tests start.
                "custodyd", "custodyctl", "custody-load", "custody-hostile", "custody-soak",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "CustodyctlTests",
            dependencies: [
                "ByteEncoding", "Custody", "CustodyClient", "CustodyProtocol", "PKCS11", "SecureMemory", "TestSupport",
                .product(name: "Crypto", package: "swift-crypto"),
                // The programs that the tests start.
                "custodyd", "custodyctl", "custody-mek", "custody-bench", "custody-mek-bench",
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "people-service",
            dependencies: [
                "AWSKMS", "CustodyClient", "MasterKey", "SecureMemory", "TenantStorage", .product(name: "GRDB", package: "GRDB.swift"),
            ],
            path: "Tests/PeopleService", swiftSettings: strict),
        .testTarget(
            name: "CustodyMekTests",
            dependencies: [
                "AWSKMS", "CustodyClient", "CustodyProtocol", "MasterKey", "SecureMemory", "TenantStorage", "TestSupport",
                "ToolSupport",
                // The programs that the tests start.
                "custodyd", "custodyctl", "custody-mek", "people-service",
            ],
            swiftSettings: strict),
        .target(
            name: "Fuzzing",
            dependencies: [
                "ByteEncoding", "Custody", "CustodyProtocol", "CustodyServer", "PKCS11", "SecureMemory", "TOML", nioCore,
                .product(name: "Crypto", package: "swift-crypto"), .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            path: "Tests/Fuzzing", exclude: ["Dictionaries"], resources: [.copy("Corpus")], swiftSettings: strict),
        .testTarget(
            name: "FuzzingTests",
            dependencies: [
                "ByteEncoding", "Custody", "CustodyProtocol", "Fuzzing", "PKCS11", nioCore,
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "CustodyProtocolTests",
            dependencies: ["ByteEncoding", "CustodyProtocol", nioCore, .product(name: "SwiftProtobuf", package: "swift-protobuf")],
            swiftSettings: strict),
        .testTarget(name: "TOMLTests", dependencies: ["TOML", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "CustodyServerTests",
            dependencies: ["CustodyServer", "Custody", "PKCS11", "TestSupport", log],
            swiftSettings: strict),
        .testTarget(
            name: "MasterKeyTests",
            dependencies: ["MasterKey", "SecureMemory", "TestSupport"],
            resources: [.copy("Vectors")],
            swiftSettings: strict),
        .testTarget(
            name: "AWSKMSTests",
            dependencies: [
                "AWSKMS", "MasterKey", "SecureMemory", "TestSupport", "ToolSupport", nioCore, nioHTTP1,
                .product(name: "Crypto", package: "swift-crypto"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            resources: [.copy("Vectors")],
            swiftSettings: strict),
        .executableTarget(
            name: "custody-tenant-holder", dependencies: ["TenantStorage", "MasterKey"], path: "Tests/TenantHolder",
            swiftSettings: strict),
        .testTarget(
            name: "TenantStorageTests",
            // The program is a second process that the tests start.
            dependencies: ["TenantStorage", "MasterKey", "PostgreSQL", "TestSupport", "custody-tenant-holder"],
            swiftSettings: strict),
    ]
)

if isFuzzing {
    package.targets.append(.executableTarget(
        name: "custody-fuzz", dependencies: ["Fuzzing"], path: "Tests/FuzzDriver",
        swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])]))
}

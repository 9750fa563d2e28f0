// swift-tools-version: 6.2
import PackageDescription

// Warnings are errors where PERSEID_STRICT is set (continuous integration), so that a newer
// compiler's new warning never keeps a user from building a release.
let strict = Context.environment["PERSEID_STRICT"] == "1"

let settings: [SwiftSetting] =
  [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
  ] + (strict ? [.treatAllWarnings(as: .error)] : [])

// Tests are built optimised, in one build with what they test; those that look inside a library need
// it built for that.
let testing = Context.environment["PERSEID_TESTING"] == "1"

func library(
  _ name: String, _ dependencies: [Target.Dependency] = [], path: String? = nil, sources: [String]? = nil,
  exclude: [String] = [], testedInside: Bool = false
) -> Target {
  .target(
    name: name, dependencies: dependencies, path: path ?? "Sources/\(name)", exclude: exclude,
    sources: sources,
    swiftSettings: settings + (testing && testedInside ? [.unsafeFlags(["-enable-testing"])] : []))
}

func tests(_ name: String, _ dependencies: [Target.Dependency], path: String? = nil, exclude: [String] = []) -> Target {
  .testTarget(
    name: name, dependencies: dependencies, path: path ?? "Tests/\(name)", exclude: exclude, swiftSettings: settings)
}

let nio: [Target.Dependency] = [
  .product(name: "NIOCore", package: "swift-nio"),
  .product(name: "NIOPosix", package: "swift-nio"),
]
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")

let package = Package(
  name: "perseid",
  products: [
    .executable(name: "perseid", targets: ["perseid"]),
    .executable(name: "perseid-node", targets: ["perseid-node"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // C: system libraries and thin shims.
    .systemLibrary(name: "CPcap", path: "Sources/CPcap", pkgConfig: "libpcap", providers: [.apt(["libpcap-dev"])]),
    .systemLibrary(name: "CZstd", path: "Sources/CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .target(name: "CLinux", path: "Sources/CLinux"),

    // Values everything else speaks in.
    library("NetworkTypes"),

    // The protocols, which know nothing of nodes and capsules.
    library("DHCPWire", ["NetworkTypes"], path: "Sources/DHCP/Wire"),
    library("DHCPClient", ["DHCPWire", "NetworkTypes", "CLinux"], path: "Sources/DHCP/Client", testedInside: true),
    library(
      "DHCP", ["DHCPWire", "NetworkTypes", "CPcap", "CLinux", lifecycle, logging] + nio, path: "Sources/DHCP",
      sources: ["Leases", "Server", "Probe", "RouterSearch", "Trace"], exclude: ["Wire", "Client"],
      testedInside: true),
    library("TFTP", ["NetworkTypes", "CLinux", lifecycle, logging] + nio, testedInside: true),

    // What appliance and stage 1 both read.
    library("CapsuleFormat", ["NetworkTypes", "CZstd"]),
    library("StateProtocol", ["NetworkTypes", "CapsuleFormat"]),

    // The appliance.
    library("ConfigurationFile", [yams]),
    library("Capsule", ["CapsuleFormat", "ConfigurationFile", "CLinux", crypto, logging, yams]),
    library(
      "Provisioner",
      [
        "Capsule", "CapsuleFormat", "ConfigurationFile", "DHCP", "DHCPWire", "TFTP", "StateProtocol", "NetworkTypes",
        "CLinux", yams,
        lifecycle, logging, crypto,
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "Mustache", package: "swift-mustache"),
      ] + nio, testedInside: true),
    .executableTarget(
      name: "perseid",
      dependencies: [
        "Provisioner", "Capsule", "CapsuleFormat", "DHCP", "DHCPWire", "TFTP", "NetworkTypes", "StateProtocol",
        "CLinux",
        lifecycle, logging,
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ] + nio, path: "Sources/perseid", swiftSettings: settings),

    // The node: stage 1 and the client of the running system, one static executable.
    library(
      "StateClient", ["StateProtocol", "CapsuleFormat", "NetworkTypes", "DHCPClient", "DHCPWire", "CLinux", crypto]),
    library(
      "Stage1", ["StateClient", "StateProtocol", "CapsuleFormat", "NetworkTypes", "DHCPClient", "CLinux", crypto]),
    .executableTarget(
      name: "perseid-node",
      dependencies: ["Stage1", "StateClient"],
      path: "Sources/Stage1Init",
      swiftSettings: settings,
      linkerSettings: [
        // A static executable: in the initramfs there is no dynamic linker and no library. The
        // package manager links what FoundationEssentials itself needs only for dynamic executables.
        // lld: the default linker warns of what glibc's static library itself refers to.
        .unsafeFlags([
          "-static-executable", "-use-ld=lld", "-l_FoundationCollections", "-l_FoundationCShims",
          "-lswiftSynchronization",
          "-Xlinker", "--gc-sections", "-Xlinker", "-s",
        ])
      ]),

    // Tests. Lab makes namespaces, virtual machines and appliances for those that need real parts.
    library(
      "Lab", ["NetworkTypes", "CLinux"], path: "Tests/Lab",
      exclude: [
        "debian-source", "debian-tree", "in-private-namespaces", "init-tree", "install-packages", "packages",
        "rpm-repositories", "service-tree", "tagging-port", "unpack-packages",
      ]),
    tests("LabTests", ["Lab", "NetworkTypes"]),
    tests("NetworkTypesTests", ["NetworkTypes"]),
    tests("DHCPTests", ["DHCP", "DHCPWire", "DHCPClient", "NetworkTypes"], exclude: ["Captures"]),
    tests("TFTPTests", ["TFTP", "NetworkTypes", "CLinux", logging]),
    library("TestSupport", ["Lab", "StateClient", "NetworkTypes"], path: "Tests/Support"),
    tests("CapsuleFormatTests", ["CapsuleFormat", "TestSupport", crypto]),
    tests(
      "CapsuleTests",
      ["Capsule", "CapsuleFormat", "ConfigurationFile", "Lab", "StateClient", "TestSupport", crypto]),
    tests(
      "ProvisionerTests",
      [
        "Provisioner", "ConfigurationFile", "StateProtocol", "DHCP", "DHCPWire", "TFTP", "Capsule", "CapsuleFormat",
        "NetworkTypes", "Lab", logging,
      ], exclude: ["OpenAPI"]),
    tests(
      "StateClientTests",
      ["StateClient", "StateProtocol", "CapsuleFormat", "NetworkTypes", "DHCPClient", "DHCPWire", "TestSupport"]),
    tests(
      "Stage1Tests",
      [
        "Stage1", "StateClient", "StateProtocol", "CapsuleFormat", "Capsule", "DHCPClient", "NetworkTypes",
        "TestSupport",
      ]),
    tests(
      "InteropTests",
      ["Lab", "DHCP", "DHCPClient", "DHCPWire", "StateClient", "TFTP", "NetworkTypes", logging],
      path: "Tests/Interop"),
    tests("BootTests", ["Lab", "NetworkTypes"], path: "Tests/Boot"),
    .executableTarget(
      name: "perseid-demo", dependencies: ["Lab"], path: "Tests/Demo", swiftSettings: settings),
    .executableTarget(
      name: "perseid-bench", dependencies: ["Lab", "DHCPWire", "TFTP", "NetworkTypes", "CLinux", lifecycle, logging],
      path: "Benchmarks", swiftSettings: settings),
  ]
)

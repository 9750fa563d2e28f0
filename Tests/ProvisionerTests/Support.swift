import Capsule
import CapsuleFormat
import Foundation
import Logging
import NetworkTypes
import StateProtocol
import TFTP

@testable import Provisioner

/// A directory of the test's own. It stays until the tests end: an appliance may outlive its test's variables.
final class TestDirectory: Sendable {
  let path: String

  private static let root: String = {
    let path = NSTemporaryDirectory() + "perseid-tests-\(getpid())"
    atexit { try? FileManager.default.removeItem(atPath: NSTemporaryDirectory() + "perseid-tests-\(getpid())") }
    return path
  }()

  init() throws {
    path = Self.root + "/" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  func write(_ text: String, to name: String) throws {
    let file = URL(filePath: path + "/" + name)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: file)
  }
}

func mac(_ number: Int) -> MACAddress { MACAddress(rawValue: 0x5254_0000_0000 + UInt64(number)) }

let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// An appliance in a directory, with loaders of its own.
func makeAppliance(_ directory: TestDirectory, _ adjust: (inout Configuration) -> Void = { _ in }) async throws
  -> Appliance
{
  var configuration = Configuration(interfaces: ["lo"])
  configuration.paths.state = directory.path + "/state"
  adjust(&configuration)
  for loader in LoaderFiles.all { try directory.write("loader \(loader.name)", to: "loaders/\(loader.path)") }
  return try await Appliance.open(
    configuration, purpose: "test", loaders: LoaderFiles(directory: directory.path + "/loaders"), logger: silent)
}

/// A capsule of small blobs: whole as far as the appliance looks.
func makeCapsule(
  _ name: String, kernel: String = "6.1.0-test", in content: ContentStore, nodescripts: [String: String] = [:],
  rootModes: [String]? = nil, hasImage: Bool = false
) throws -> CapsuleFormat.Digest {
  let types = [
    MediaType.kernel, MediaType.initramfs, MediaType.stage1, MediaType.rootFileSystem, MediaType.frameIndex,
  ]
  var layers = try types.map { type in try content.write(Array("\(name) \(kernel) \(type)".utf8), mediaType: type) }
  if !nodescripts.isEmpty {
    var bundle = FileBundle()
    for (path, content) in nodescripts {
      guard let path = TreePath(path) else { continue }
      bundle.files[path] = FileBundle.File(isExecutable: true, content: Array(content.utf8))
    }
    layers.append(try content.write(try bundle.encoded(), mediaType: MediaType.nodescripts))
  }
  if hasImage { layers.append(try content.write(Array("\(name) image".utf8), mediaType: MediaType.erofs)) }
  var config = CapsuleConfig(
    name: name, kernelRelease: kernel, architecture: "amd64", operatingSystem: "Test", kernelArguments: "quiet",
    rootBytes: 1000, rootEntries: 3)
  config.rootModes = rootModes
  let manifest = CapsuleManifest(
    config: try content.write(try ProtocolJSON.encode(config), mediaType: MediaType.config), layers: layers)
  return try content.write(try ProtocolJSON.encode(manifest), mediaType: MediaType.manifest).digest
}

func text(_ response: NodeResponse) -> String { String(decoding: bytes(response.body), as: UTF8.self) }

func bytes(_ content: Content) -> [UInt8] {
  content.parts.flatMap { part in
    switch part {
    case .bytes(let bytes): bytes
    case .file(let path, _): [UInt8]((try? Data(contentsOf: URL(filePath: path))) ?? Data())
    }
  }
}

extension NodeRequest {
  static func get(_ path: String, _ query: [String: String] = [:], from client: IPv4Address = IPv4Address(10, 0, 0, 21))
    -> NodeRequest
  {
    NodeRequest(
      method: .get, path: path, query: query, client: client, server: IPv4Address(10, 0, 0, 1), port: 9870)
  }

  static func post(_ path: String, _ body: [UInt8], from client: IPv4Address = IPv4Address(10, 0, 0, 21)) -> NodeRequest
  {
    NodeRequest(method: .post, path: path, body: body, client: client, server: IPv4Address(10, 0, 0, 1), port: 9870)
  }
}

func report(_ state: String, boot: String?, _ card: MACAddress) throws -> [UInt8] {
  try ProtocolJSON.encode(
    StateReport(
      state: state, boot: boot, hardwareAddresses: [card], address: IPv4Address(10, 0, 0, 21),
      facts: Facts(kernelRelease: "6.1.0-test", memoryBytes: 2_000_000_000, processors: 2, uptimeSeconds: 4.5)))
}

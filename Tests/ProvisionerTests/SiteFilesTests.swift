import Foundation
import Glibc
import NetworkTypes
import Synchronization
import TFTP
import Testing

@testable import Provisioner

private final class Counter: Sendable {
  let value = Atomic(0)
}

@Suite("A site's own files")
struct SiteFilesTests {
  private let site: TestDirectory
  private let directory: String
  private let files: SiteFiles

  init() throws {
    site = try TestDirectory()
    directory = site.path + "/tftp"
    try FileManager.default.createDirectory(atPath: directory + "/sub", withIntermediateDirectories: true)
    files = SiteFiles(directory: directory)
    try write("outside", to: site.path + "/secret")
    try write("config", to: directory + "/sub/switch.cfg")
  }

  private func write(_ text: String, to path: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path))
  }

  /// The file's bytes, or `nil` where there is no such file.
  private func size(_ name: String) async -> Int? {
    guard case .file(let file) = await files.content(named: name, for: .any) else { return nil }
    return file.size
  }

  @Test("A file is found under its name, also through a link within the directory")
  func found() async throws {
    #expect(await size("sub/switch.cfg") == 6)
    try FileManager.default.createSymbolicLink(atPath: directory + "/alias", withDestinationPath: "sub/switch.cfg")
    try FileManager.default.createSymbolicLink(atPath: directory + "/sub/up", withDestinationPath: "../sub/switch.cfg")
    #expect(await size("alias") == 6)
    #expect(await size("sub/up") == 6)
  }

  @Test("Neither a name nor a link leads outside the directory")
  func outside() async throws {
    for (link, target) in [
      ("relative", "../secret"), ("absolute", site.path + "/secret"), ("inside", directory + "/sub/switch.cfg"),
      ("far", "sub/../../secret"), ("magic", "/proc/self/exe"), ("loop", "loop"), ("directory", ".."),
    ] {
      try FileManager.default.createSymbolicLink(atPath: directory + "/" + link, withDestinationPath: target)
      #expect(await size(link) == nil, "\(link)")
    }
    for name in [
      "../secret", "sub/../../secret", site.path + "/secret", "directory/secret", "/etc/passwd", "", ".", "..", "\0",
      "sub/switch.cfg\0", String(repeating: "x", count: 5000), "sub/switch.cfg/",
    ] {
      #expect(await size(name) == nil, "\(name)")
    }
  }

  @Test("Only regular files are served, and none is waited for", .timeLimit(.minutes(5)))
  func regular() async throws {
    #expect(mkfifo(directory + "/fifo", 0o644) == 0)
    for name in ["fifo", "sub"] { #expect(await size(name) == nil, "\(name)") }
    let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(socket) }
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: (directory + "/socket").utf8) }
    let bound = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    #expect(bound == 0)
    #expect(await size("socket") == nil)
  }

  @Test("Where there is no such directory, there are no files")
  func none() async {
    guard case .notFound = await SiteFiles(directory: directory + "/none").content(named: "x", for: .any) else {
      Issue.record("a file was found")
      return
    }
  }

  @Test("Renaming while files are opened never lets one from outside through", .timeLimit(.minutes(5)))
  func races() async throws {
    // `swap` is a directory with a file of 6 bytes, and a link to the directory above with one of 7, in turn.
    try FileManager.default.createDirectory(atPath: directory + "/swap", withIntermediateDirectories: true)
    try write("inside", to: directory + "/swap/secret")
    try FileManager.default.createSymbolicLink(atPath: directory + "/link", withDestinationPath: site.path)
    let directory = directory
    let swaps = Counter()
    async let _: Void = {
      while !Task.isCancelled {
        rename(directory + "/swap", directory + "/aside")
        rename(directory + "/link", directory + "/swap")
        rename(directory + "/swap", directory + "/link")
        rename(directory + "/aside", directory + "/swap")
        let count = swaps.value.add(1, ordering: .relaxed).newValue
        if count.isMultiple(of: 16) { await Task.yield() }
      }
    }()
    var sizes: Set<Int?> = []
    var tries = 0
    while tries < 5000 || !sizes.contains(6) || swaps.value.load(ordering: .relaxed) == 0, tries < 200_000 {
      sizes.insert(await size("swap/secret"))
      tries += 1
      await Task.yield()
    }
    #expect(swaps.value.load(ordering: .relaxed) > 0)
    #expect(sizes.contains(6) && sizes.isSubset(of: [6, nil]), "\(sizes)")
  }

  @Test("What the appliance itself serves comes before a file of the site of the same name")
  func order() async throws {
    let appliance = try await makeAppliance(site)
    let own = appliance.configuration.paths.tftp
    try FileManager.default.createDirectory(atPath: own + "/b/x", withIntermediateDirectories: true)
    for name in ["ipxe.efi", "grub.cfg", "b/x/kernel"] { try write("site", to: own + "/" + name) }
    guard case .content = await appliance.bootContent.content(named: "ipxe.efi", for: .any, at: .any) else {
      Issue.record("the site's file took the loader's place")
      return
    }
    guard case .file(let file) = await appliance.bootContent.content(named: "grub.cfg", for: .any, at: .any) else {
      Issue.record("the site's file was not found")
      return
    }
    #expect(file.size == 4)
    guard case .notFound(let reason) = await appliance.bootContent.content(named: "b/none/kernel", for: .any, at: .any)
    else {
      Issue.record("a boot was found")
      return
    }
    #expect(reason == "there is no boot none: ask for the script again")
    try await appliance.close()
  }
}

import Foundation
import Lab

@main
struct Bench {
  static func main() async {
    do {
      guard NetworkNamespace.isAvailable else { throw LabError("the benchmark \(NetworkNamespace.unavailable)") }
      try await Site.with { site in
        let tree = try await PeerTree(
          tree: try Cache.debianTree("bookworm"), directory: site.directory + "/tree")
        print("initramfs", tree.initramfsBytes, "root", tree.rootBytes)
        let server = try await PeerServer(site, tree: tree)
        let times = try await BootTimes(site, configuration: .init(number: 1, firmware: .init(rawValue: ProcessInfo.processInfo.environment["FIRMWARE"] ?? "bios") ?? .bios))
        print(times)
        await server.stop()
      }
    } catch {
      FileHandle.standardError.write(Data("perseid-bench: \(error)\n".utf8))
      exit(1)
    }
  }
}

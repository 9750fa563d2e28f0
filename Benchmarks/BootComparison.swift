import Foundation
import Lab

/// One machine and one root file system, served by Perseid and by what an administrator would write himself.
struct BootComparison {
  let rounds: Int

  func run(_ progress: @Sendable (String) -> Void) async throws -> [Row] {
    progress("making the peer's files and our capsule from the same Debian 12")
    let scratch = try ScratchDirectory.make()
    defer { ScratchDirectory.remove(scratch) }
    let tree = try await PeerTree(tree: try Cache.debianTree("bookworm"), directory: scratch + "/tree")
    let template = scratch + "/state"
    try await CapsuleTemplate.shared.makeState(at: template)

    var ours: [BootTimes] = []
    var theirs: [BootTimes] = []
    var capsule: CapsuleSizes?
    // Turn about, so that whatever slows the host down for a while slows both.
    for round in 1...rounds {
      progress("round \(round) of \(rounds): dnsmasq, nginx and a busybox script")
      let their = try await bootTheirs(tree)
      progress("  \(their)")
      theirs.append(their)
      progress("round \(round) of \(rounds): Perseid")
      let (our, sizes) = try await bootOurs(template)
      progress("  \(our)")
      ours.append(our)
      capsule = sizes
    }
    guard let capsule else { return [] }
    let script = "dnsmasq, nginx, busybox script"
    return [
      Row(
        name: "boot: loader's first request to switch_root", unit: "s", ours: ours.map(\.loaderToSwitchRoot),
        theirs: theirs.map(\.loaderToSwitchRoot), peer: script, goal: 0.8),
      Row(
        name: "boot: power-on to multi-user", unit: "s", ours: ours.map(\.powerOnToMultiUser),
        theirs: theirs.map(\.powerOnToMultiUser), peer: script),
      Row(
        name: "stage 1, from its start to the init state sent", unit: "s", ours: ours.compactMap(\.stage1ToInit),
        theirs: [1], peer: "our limit", goal: 1),
      Row(
        name: "root file system, compressed", unit: "MB", ours: [megabytes(capsule.root)],
        theirs: [megabytes(tree.rootBytes)], peer: "zstd's default level"),
      Row(
        name: "initramfs with stage 1, compressed", unit: "MB", ours: [megabytes(capsule.initramfs + capsule.stage1)],
        theirs: [megabytes(tree.initramfsBytes)], peer: "busybox, zstd, virtio modules"),
      Row(
        name: "stage 1, compressed", unit: "MiB", ours: [Double(capsule.stage1) / 1_048_576], theirs: [8],
        peer: "our limit", goal: 1),
    ]
  }

  private func megabytes(_ bytes: Int) -> Double { Double(bytes) / 1e6 }

  private func bootTheirs(_ tree: PeerTree) async throws -> BootTimes {
    try await Site.with { site in
      let server = try await PeerServer(site, tree: tree)
      do {
        let times = try await BootTimes(site, configuration: .init(number: 1))
        await server.stop()
        return times
      } catch {
        await server.stop()
        throw error
      }
    }
  }

  private func bootOurs(_ template: String) async throws -> (BootTimes, CapsuleSizes) {
    try await Site.with { site in
      let state = site.directory + "/state"
      try await Command("cp", "-a", "--reflink=auto", template, state).run().check()
      let appliance = try Appliance(site, state: state)
      try await appliance.start()
      do {
        let times = try await BootTimes(site, configuration: .init(number: 1))
        let sizes = try await CapsuleSizes(appliance)
        await appliance.stop()
        return (times, sizes)
      } catch {
        await appliance.stop()
        throw LabError("\(error)\nthe appliance said last:\n\(appliance.log?.tail(20) ?? "")")
      }
    }
  }
}

/// Bytes of a capsule's parts, from its manifest.
private struct CapsuleSizes {
  var root: Int
  var initramfs: Int
  var stage1: Int

  init(_ appliance: Appliance) async throws {
    struct Capsule: Decodable { var digest: String }
    struct Manifest: Decodable {
      struct Layer: Decodable {
        var mediaType: String
        var size: Int
      }
      var layers: [Layer]
    }
    let digest = try await appliance.json(Capsule.self, "vnfs", "show", "debian-12").digest
    let path = "\(appliance.state)/blobs/\(digest.replacingOccurrences(of: ":", with: "/"))"
    let manifest = try JSONDecoder().decode(Manifest.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    func size(_ mediaType: String) -> Int { manifest.layers.first { $0.mediaType == mediaType }?.size ?? 0 }
    root = size("application/vnd.oci.image.layer.v1.tar+zstd")
    initramfs = size("application/vnd.perseid.capsule.initramfs.v1")
    stage1 = size("application/vnd.perseid.capsule.stage1.v1")
  }
}

import Foundation
import Lab

/// A root file system from a web server into memory: by stage 1's pipeline, by what an administrator would write, and
/// by the least that has to be done.
struct UnpackComparison {
  let rounds: Int

  private struct Blob {
    var name: String
    var digest: String
    var index: String
    var bytes: Int
  }

  func run(_ progress: @Sendable (String) -> Void) async throws -> [Row] {
    try await Site.with { site in
      let state = site.directory + "/state"
      try await CapsuleTemplate.shared.makeState(at: state)
      let appliance = try Appliance(site, state: state)
      let small = try await blob("debian-12", "350 MB", appliance)
      progress("making a capsule of 2 GiB")
      let tree = site.directory + "/tree"
      try await Command(
        "sh", "-euc",
        """
        mkdir \(tree); tar --numeric-owner -C \(tree) -xpf \(try Cache.debianTree("bookworm"))
        for copy in 1 2 3 4 5; do mkdir \(tree)/opt/$copy; cp -a \(tree)/usr \(tree)/opt/$copy; done
        """
      ).run(timeout: .seconds(600)).check()
      try await appliance.run("vnfs", "import", tree, "--name", "big", "--yes", timeout: .seconds(1800))
      try await Command("rm", "-rf", tree).run(timeout: .seconds(300)).check()
      let big = try await blob("big", "2 GiB", appliance)
      let server = try await webServer(site, root: state)
      do {
        let rows = try await measure(small, site, progress) + measure(big, site, progress)
        await server.stop()
        return rows
      } catch {
        await server.stop()
        throw error
      }
    }
  }

  private func measure(_ blob: Blob, _ site: Site, _ progress: @Sendable (String) -> Void) async throws -> [Row] {
    var ours: [Double] = []
    var theirs: [Double] = []
    var floors: [Double] = []
    var memory: [Double] = []
    for round in 1...rounds {
      let (their, _) = try await timed(site, peer(blob))
      theirs.append(their)
      let (floor, _) = try await timed(site, "zstd -dcqT0 \(site.directory)/state/\(path(blob.digest)) > tree/stream")
      floors.append(floor)
      let (our, said) = try await timed(
        site,
        "\(Appliance.nodeExecutable) unpack \(Site.serverAddress):80 \(hexadecimal(blob.digest)) \(hexadecimal(blob.index)) tree"
      )
      ours.append(our)
      memory.append(Double(said.firstMatch(of: /(\d+) MiB of memory/)?.1 ?? "") ?? .nan)
      progress("round \(round) of \(rounds), \(blob.name): peer \(rounded(their)), floor \(rounded(floor)), \(said)")
    }
    // Half of the way from the peer to the floor, or half of the peer's time, whichever is easier.
    let row = Row(
      name: "fetch, verify, unpack \(blob.name)", unit: "s", ours: ours, theirs: theirs,
      peer: "curl, sha256sum, zstd, tar")
    let floor = Row(name: "", unit: "", ours: floors, theirs: theirs, peer: "")
    var judged = row
    judged.goal = max(0.5, (1 + floor.ratio) / 2)
    return [
      judged,
      Row(
        name: "fetch, verify, unpack \(blob.name), over the floor", unit: "s", ours: ours, theirs: floors,
        peer: "zstd -dT0, one plain write"),
      Row(
        name: "memory beside the tree, \(blob.name)", unit: "MiB", ours: memory, theirs: [64], peer: "our limit",
        goal: 1),
    ]
  }

  /// Seconds of a shell command in a directory whose `tree` is memory, empty at its beginning.
  private func timed(_ site: Site, _ command: String) async throws -> (Double, String) {
    let tree = site.directory + "/tree"
    try await Command("sh", "-euc", "mkdir -p \(tree); mount -t tmpfs -o size=6g,nr_inodes=0 tmpfs \(tree)").run()
      .check()
    let started = ContinuousClock.now
    let result = try await site.server.command("bash", "-o", "pipefail", "-euc", "cd \(site.directory); \(command)")
      .run(timeout: .seconds(300))
    let seconds = (ContinuousClock.now - started).seconds
    try await Command("umount", tree).run(timeout: .seconds(60)).check()
    return (seconds, try result.check().output.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  private func peer(_ blob: Blob) -> String {
    """
    curl -sf http://\(Site.serverAddress)/\(path(blob.digest)) | tee >(sha256sum > tree.sum) | zstd -dcq |
      tar --numeric-owner --xattrs --xattrs-include='*' -xpC tree
    while ! grep -q . tree.sum; do :; done; grep -q \(hexadecimal(blob.digest)) tree.sum
    """
  }

  private func hexadecimal(_ digest: String) -> String { String(digest.split(separator: ":").last ?? "") }

  private func path(_ digest: String) -> String { "blobs/sha256/\(hexadecimal(digest))" }

  private func blob(_ capsule: String, _ name: String, _ appliance: Appliance) async throws -> Blob {
    struct Capsule: Decodable { var digest: String }
    struct Manifest: Decodable {
      struct Layer: Decodable {
        var mediaType: String
        var digest: String
        var size: Int
      }
      var layers: [Layer]
    }
    let digest = try await appliance.json(Capsule.self, "vnfs", "show", capsule).digest
    let manifest = try JSONDecoder().decode(
      Manifest.self, from: Data(contentsOf: URL(fileURLWithPath: "\(appliance.state)/\(path(digest))")))
    func layer(_ type: String) throws -> Manifest.Layer {
      guard let layer = manifest.layers.first(where: { $0.mediaType == type }) else {
        throw LabError("capsule \(capsule) has no \(type)")
      }
      return layer
    }
    let root = try layer("application/vnd.oci.image.layer.v1.tar+zstd")
    let index = try layer("application/vnd.perseid.capsule.frameindex.v1")
    return Blob(name: name, digest: root.digest, index: index.digest, bytes: root.size)
  }

  /// nginx, with the store's blobs under the addresses that an appliance gives them.
  private func webServer(_ site: Site, root: String) async throws -> RunningProcess {
    let scratch = site.directory
    try """
    daemon off;
    pid \(scratch)/nginx.pid;
    error_log stderr notice;
    user root;
    events { }
    http {
      access_log off;
      sendfile on;
      tcp_nopush on;
      client_body_temp_path \(scratch)/body;
      proxy_temp_path \(scratch)/proxy;
      fastcgi_temp_path \(scratch)/fastcgi;
      uwsgi_temp_path \(scratch)/uwsgi;
      scgi_temp_path \(scratch)/scgi;
      server { listen 80; root \(root); }
    }
    """.write(toFile: scratch + "/nginx.conf", atomically: true, encoding: .utf8)
    let nginx = try RunningProcess(site.server.command("nginx", "-e", "stderr", "-c", scratch + "/nginx.conf"))
    try await nginx.log.line(containing: "start worker process ", within: .seconds(20))
    return nginx
  }
}

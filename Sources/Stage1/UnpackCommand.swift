import CapsuleFormat
import Glibc
import StateClient

/// `perseid-node unpack`: what stage 1 does with a root file system, on any machine and into any directory. It shows
/// what a way and a machine give, and whether a capsule comes out of an appliance whole.
package enum UnpackCommand {
  private static let usage = """
    usage: perseid-node unpack SERVER[,SERVER...] BLOB INDEX DIRECTORY
           SERVER     an appliance, by number: 10.0.0.1 or 10.0.0.1:9870
           BLOB       the digest of a capsule's root file system, 64 hexadecimal digits
           INDEX      the digest of its frame index
           DIRECTORY  is made, where it is not there, and filled

    """

  /// - Returns: 0 done, 1 it failed, 2 wrong usage.
  package static func run(_ arguments: [String]) -> Int32 {
    guard arguments.count == 4 else { return misused() }
    let servers = arguments[0].split(separator: ",").map { Endpoint(String($0)) }
    guard let first = servers.first, let first, !servers.contains(nil),
      let blob = Digest(hexadecimal: arguments[1]), let index = Digest(hexadecimal: arguments[2])
    else { return misused() }
    do {
      let started = Clock.now
      let frames = try frameIndex(index, from: first)
      let descriptor = Descriptor(
        mediaType: MediaType.rootFileSystem, digest: blob, size: Int64(clamping: frames.compressedLength))
      let pipeline = FramePipeline(servers: servers.compactMap(\.self), blob: descriptor, index: frames)
      let directory = arguments[3]
      try SmallFile.makeDirectories(directory)
      var work = FramePipeline.Work()
      func watch(_ progress: FramePipeline.Progress) {
        work = progress.work
        for note in progress.notes { Journal.say(note) }
      }
      try pipeline.run(makeConsumer: { try TreeConsumer(directory) }, watch: watch)
      let milliseconds = Int((Clock.now - started) * 1000)
      print(
        "\(frames.uncompressedLength >> 20) MiB in \(milliseconds) ms over \(pipeline.connections) connections, "
          + "\(work), \(peakMemory() >> 20) MiB of memory at most")
      return 0
    } catch {
      Journal.say("\(error)")
      return 1
    }
  }

  private static func misused() -> Int32 {
    Journal.say(usage)
    return 2
  }

  private static func frameIndex(_ digest: Digest, from server: Endpoint) throws -> FrameIndex {
    var connection = HTTPConnection(server: server)
    let target = StateClient.target(of: digest)
    let response = try connection.send(HTTPRequest("GET", target), bodyLimit: FrameIndex.sizeLimit)
    guard response.head.status == 200, Digest.ofContent(response.body) == digest else {
      throw StepFailure(
        what: "http://\(server)\(target): status \(response.head.status), or other content than the digest says",
        canRetry: false)
    }
    return try FrameIndex(decoding: response.body)
  }

  /// Bytes that this process had resident at most, its own code with them.
  private static func peakMemory() -> Int64 {
    for line in (SmallFile.text("/proc/self/status") ?? "").split(separator: "\n") where line.hasPrefix("VmHWM:") {
      return (line.split(separator: " ").dropFirst().first.flatMap { Int64($0) } ?? 0) << 10
    }
    return 0
  }
}

import Foundation
import Lab
import Testing

/// The real server on loopback, and the clients that people and firmware have.
@Suite(.timeLimit(.minutes(5)))
struct TFTPInteropTests {
  @Test(arguments: TFTPClient.allCases)
  func everyClientReadsEverySizeRight(client: TFTPClient) async throws {
    try await TFTPSite.with { site in
      for size in TFTPSite.sizes {
        let path = site.directory + "/got-\(client.rawValue)-\(size)"
        try await client.command("file-\(size)", to: path, port: site.port).run(timeout: .seconds(60)).check()
        #expect(try site.bytes(path) == site.files["file-\(size)"], "\(size) bytes")
      }
      let finished = await site.log.count(of: .finished, atLeast: TFTPSite.sizes.count)
      #expect(finished == TFTPSite.sizes.count)
    }
  }

  @Test func severalClientsAtOnceAllGetTheirBytes() async throws {
    try await TFTPSite.with { site in
      try await withThrowingTaskGroup(of: (String, String).self) { group in
        for client in TFTPClient.allCases {
          for copy in 0..<2 {
            group.addTask {
              let path = site.directory + "/at-once-\(client.rawValue)-\(copy)"
              try await client.command("file-5000000", to: path, port: site.port).run(timeout: .seconds(120)).check()
              return (client.rawValue, path)
            }
          }
        }
        for try await (client, path) in group {
          #expect(try site.bytes(path) == site.files["file-5000000"], "\(client)")
        }
      }
    }
  }

  @Test func aMissingFileIsToldByEveryClient() async throws {
    try await TFTPSite.with { site in
      for client in TFTPClient.allCases {
        let path = site.directory + "/missing-\(client.rawValue)"
        let result = try await client.command("missing", to: path, port: site.port).run(timeout: .seconds(30))
        let said = result.output + result.errors
        #expect(
          !result.succeeded || said.contains("missing is not here") || said.contains("File not found"),
          "\(client): \(said)")
        #expect(!result.timedOut, "\(client)")
      }
    }
  }

  @Test func anUploadIsRefusedAndLeavesNothing() async throws {
    try await TFTPSite.with { site in
      let path = site.directory + "/upload"
      try Data("x".utf8).write(to: URL(filePath: path))
      let result = try await Command("curl", "-sS", "-T", path, "tftp://127.0.0.1:\(site.port)/upload")
        .run(timeout: .seconds(30))
      #expect(!result.succeeded && !result.timedOut)
      #expect(await site.log.count(of: .refused, atLeast: 1) == 1)
    }
  }

  @Test func netasciiReachesTheClientAsTheTextItWas() async throws {
    try await TFTPSite.with { site in
      let path = site.directory + "/got-text"
      try await Command("tftp", "-m", "ascii", "127.0.0.1", "\(site.port)", "-c", "get", "text", path)
        .run(timeout: .seconds(30)).check()
      #expect(try site.bytes(path) == site.files["text"])
    }
  }
}

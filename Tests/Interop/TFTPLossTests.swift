import Lab
import Testing

/// Clients as people have them, over a network that loses, doubles and reorders packets: see `LossyRelay`.
@Suite(.timeLimit(.minutes(5)))
struct TFTPLossTests {
  static let weathers = [
    NetworkWeather(), NetworkWeather(loss: 0.01), NetworkWeather(loss: 0.05), NetworkWeather(loss: 0.2),
    NetworkWeather(duplication: 0.3), NetworkWeather(reordering: 0.05),
    NetworkWeather(loss: 0.05, duplication: 0.1, reordering: 0.05),
  ]

  @Test(arguments: weathers)
  func everyClientFinishesWithTheRightBytes(weather: NetworkWeather) async throws {
    let bytes = TFTPSite.pattern(25_001)
    let names = TFTPClient.allCases.map { "over-\($0.rawValue)" }
    try await TFTPSite.with(more: .init(uniqueKeysWithValues: names.map { ($0, bytes) })) { site in
      let relay = try LossyRelay(to: site.port, weather)
      defer { relay.stop() }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for client in TFTPClient.allCases {
          group.addTask {
            let path = site.directory + "/got-\(client.rawValue)"
            try await client.command("over-\(client.rawValue)", to: path, port: relay.port)
              .run(timeout: .seconds(200)).check()
            #expect(try site.bytes(path) == bytes, "\(client.rawValue)")
          }
        }
        try await group.waitForAll()
      }
    }
  }
}

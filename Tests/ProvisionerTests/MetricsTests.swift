import DHCP
import Foundation
import NetworkTypes
import Testing

import struct Lab.Command

@testable import Provisioner

@Suite("The figures for monitoring", .timeLimit(.minutes(5)))
struct MetricsTests {
  private static let hasParser = FileManager.default.fileExists(
    atPath: "/usr/lib/python3/dist-packages/prometheus_client")

  /// Prometheus's own parser: kind, name, labels and value of each sample.
  private static let parser = """
    import sys
    from prometheus_client.parser import text_string_to_metric_families as parse
    for family in parse(sys.stdin.read()):
        assert family.documentation, family
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            print(family.type, sample.name, labels, int(sample.value))
    """

  @Test(
    "are what Prometheus's parser reads, for whoever has a token to read",
    .enabled(if: hasParser, "python3-prometheus-client is needed"))
  func parsed() async throws {
    try await withPort { port, appliance, _ in
      for number in 1...3 { _ = try await appliance.addNode(AddNode(mac: mac(number).description)) }
      _ = try await appliance.setNodes(["n0001"], key: "enabled", value: "no")
      appliance.network.count("eth1") {
        var statistics = DHCPStatistics.none
        statistics.received = 12
        statistics.acknowledgements = 4
        statistics.ignored = ["odd \"\\\nreason": 2, "udp-checksum": 1]
        return statistics
      }
      let token = try await appliance.createToken(CreateToken(name: "scraper", role: .read)).token
      let url = "http://127.0.0.1:\(port)/api/v1/metrics"
      #expect(try await curl(["-s", "-i", url]).status == 401)
      let answer = try await curl(["-s", "-i", "-H", "Authorization: Bearer \(token)", url])
      #expect(answer.status == 200 && answer.field("Content-Type") == "text/plain")
      let parsed = try await Command("/usr/bin/python3", "-c", Self.parser)
        .run(input: String(decoding: answer.body, as: UTF8.self)).check().output
      for line in [
        "gauge perseid_info version=\(Appliance.version) 1", "gauge perseid_nodes state=unknown 3",
        "gauge perseid_nodes_enabled  2", "gauge perseid_nodes_in_trouble condition=stuck 0",
        "counter perseid_dhcp_received_total interface=eth1 12",
        "counter perseid_dhcp_replies_total interface=eth1,type=ack 4",
        "counter perseid_dhcp_ignored_total interface=eth1,reason=udp-checksum 1",
        "counter perseid_dhcp_ignored_total interface=eth1,reason=odd \"\\\nreason 2",
      ] {
        #expect(parsed.contains(line + "\n"), "\(line) is not in\n\(parsed)")
      }
      #expect(parsed.contains("is=free"))
    }
  }
}

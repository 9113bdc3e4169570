import type { DeviceSpec } from '../virtio/device.ts'
import { be48, le16, le32, struct, u8, writable } from '../virtio/layout.ts'

export const Config = struct('virtio_net_config', '5.1.4', {
  mac: writable(be48('the device’s address; only a legacy driver may write it')),
  status: le16('with STATUS', { LINK_UP: 1, ANNOUNCE: 2 }),
  max_virtqueue_pairs: le16('with MQ'),
  mtu: le16('with MTU: longest packet without its Ethernet header'),
  speed: le32('with SPEED_DUPLEX, in Mbit/s; all ones if unknown'),
  duplex: u8('with SPEED_DUPLEX', { HALF: 0, FULL: 1, UNKNOWN: 255 }),
})
const features = {
  CSUM: 0,
  GUEST_CSUM: 1,
  CTRL_GUEST_OFFLOADS: 2,
  MTU: 3,
  MAC: 5,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_ECN: 9,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  HOST_ECN: 13,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_VLAN: 19,
  CTRL_RX_EXTRA: 20,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
  CTRL_MAC_ADDR: 23,
  NOTF_COAL: 53,
  SPEED_DUPLEX: 63,
} as const
const F = features

export const Net = {
  id: 1,
  name: 'network',
  section: '5.1',
  queues: ['receiveq1', 'transmitq1', 'controlq'],
  features,
  // §5.1.3.1
  needs: [
    [F.GUEST_TSO4, F.GUEST_CSUM],
    [F.GUEST_TSO6, F.GUEST_CSUM],
    [F.GUEST_ECN, F.GUEST_TSO4, F.GUEST_TSO6],
    [F.HOST_TSO4, F.CSUM],
    [F.HOST_TSO6, F.CSUM],
    [F.HOST_ECN, F.HOST_TSO4, F.HOST_TSO6],
    ...[F.CTRL_RX, F.CTRL_VLAN, F.CTRL_RX_EXTRA, F.GUEST_ANNOUNCE, F.MQ, F.CTRL_MAC_ADDR, F.NOTF_COAL].map(
      feature => [feature, F.CTRL_VQ] as const,
    ),
    [F.CTRL_GUEST_OFFLOADS, F.CTRL_VQ],
  ],
  config: Config,
} as const satisfies DeviceSpec

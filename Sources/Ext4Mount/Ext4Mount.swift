internal import Ext4

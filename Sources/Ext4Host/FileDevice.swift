public import Ext4
